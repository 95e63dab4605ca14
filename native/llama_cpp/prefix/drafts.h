// Whether drafts pay: what steps with and without them took.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

// A step that checks drafted tokens takes longer than one without, and pays if enough of them are right. How much longer
// depends on the model, the machine, and what else runs, so it is measured: drafts may lose a small part of the time that
// generation takes, and what they gain.
struct lc_drafts {
    bool is_kept = false; // otherwise everything that can be drafted is

    // Whether the next step may have drafts, and of how many tokens each. What a step takes that does something else,
    // too, says nothing about them.
    bool pay() const { return !is_mixed && credit > 0.0 && n < plain.size() && plain[n] > 0.0; }
    int  length() const { return longest; }

    // Before each step: `now` in microseconds; the slots that generate in it; whether it reads other tokens, too.
    void begin_step(int64_t now, size_t n_generating, bool reads) {
        if (is_kept && began > 0 && n > 0 && !is_mixed) {
            end_step((double) (now - began));
        }
        began    = now;
        n        = n_generating;
        is_mixed = reads;
        drafted = accepted = 0;
    }
    // Between requests time passes that belongs to none.
    void pause() { began = 0; }

    int drafted = 0, accepted = 0; // tokens of this step

  private:
    static constexpr double part = 0.02;        // of the time, may be lost
    static constexpr double most = 3.0;         // steps: what gains may save up, and losses run up
    static constexpr int    shortest_draft = 3, longest_draft = 15; // with the token before: what products take at a time

    int64_t             began    = 0;
    size_t              n        = 0;
    bool                is_mixed = false;
    int                 longest  = 7;
    double              credit   = 0.0; // microseconds
    std::vector<double> plain;          // microseconds of a step without drafts, by the slots that generate

    void end_step(double took) {
        plain.resize(std::max(plain.size(), n + 1), 0.0);
        double & one = plain[n];
        if (drafted == 0) {
            if (one == 0.0) {
                one    = took;
                credit = std::max(credit, 1.5 * one);
            } else { // a step that was interrupted, or had to wait for a request to be taken in, says little
                one += took < one ? (took - one) / 2.0 : (std::min(took, 2.0 * one) - one) / 8.0;
            }
        } else if (one > 0.0) {
            one = std::min(one, took); // without drafts it would not have taken longer
            const double lost = std::min(took - one, 2.0 * one);
            credit += accepted * one / (double) n - lost;
            longest = accepted == drafted ? 2 * longest + 1 : 2 * accepted < drafted ? longest / 2 : longest;
            longest = std::clamp(longest, shortest_draft, longest_draft);
        }
        credit = std::clamp(credit + part * std::min(took, 2.0 * one), -most * one, most * one);
    }
};
