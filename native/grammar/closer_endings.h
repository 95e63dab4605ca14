// Endings that take fewer tokens than those of lc_endings, for where that decides.
#pragma once

#include "grammar/endings.h"

#include <cstdint>
#include <memory>
#include <vector>

// A few endings of one place that differ: which is best depends on what comes before them.
using lc_some_endings = std::vector<lc_ending>;

// lc_endings weighs what a rule stands for by itself. A token may cover the end of one part and the beginning of the
// next, so that `":null,"` can be three tokens where `":"","` is two. Here each alternative that takes about as few
// tokens as the best one is read together with what follows, and a few of all endings are kept.
//
// What is kept for a place depends on the place alone, and of each ending that is kept the rest is kept for the place
// behind its first token: so an ending that was counted on stays open.
class lc_closer_endings {
  public:
    // Part of an alternative: a text, or a rule of which several alternatives are weighed.
    struct part {
        int32_t              rule = -1;
        std::vector<lc_unit> text;
    };

    lc_closer_endings(std::shared_ptr<const lc_rules> rules, std::shared_ptr<const lc_endings> endings);

    // Whether there is anything to weigh in this grammar, and not too much.
    bool any();
    // What stands from `position` to the end of its alternative; false if it cannot end.
    bool split(int32_t position, std::vector<part> & out) const;
    // The first elements of the alternatives that are weighed for a rule.
    const std::vector<int32_t> & weighed(int32_t rule) const { return alternatives[rule]; }
    // The parts, then `rest`.
    lc_some_endings before(const std::vector<part> & parts, lc_some_endings rest) const;
    // Keeps a few of those that begin differently, those with the fewest tokens.
    static void keep_few(lc_some_endings & some);

  private:
    using alternative = lc_endings::alternative;

    void            prepare();
    void            add_others(const std::vector<alternative> & all);
    bool            leads_to(const alternative & one, int32_t rule) const;
    void            measure();
    size_t          work_of(int32_t rule) const;
    lc_some_endings of(int32_t rule, const lc_some_endings & rest) const;

    std::shared_ptr<const lc_rules>   rules;
    std::shared_ptr<const lc_endings> endings;
    bool                              prepared = false;
    bool                              usable   = false;
    std::vector<std::vector<int32_t>> alternatives; // of each rule: the chosen one first; empty if it cannot end
    std::vector<std::vector<int32_t>> refs;         // of each rule: the rules in these alternatives
    std::vector<size_t>               work;         // of each rule: about how many texts are joined for it
    std::vector<char>                 varied;       // of each rule: whether there is anything to weigh in it
};
