// Micro-batches in which requests have different numbers of tokens.
//
// With a cache of several streams llama.cpp computes only as many tokens of each request together as the shortest has:
// the ends of 32 prompts that begin alike, 15 to 36 tokens each, become some 40 micro-batches. Nothing but attention needs
// the numbers to be equal: its queries are a grid of tokens by streams. Here the rows of the queries are spread over such a
// grid, with rows that see no key where a request has fewer, and its results are gathered again.
#pragma once

#include "llama-batch.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

// Asks split_equal() for such micro-batches.
constexpr uint32_t lc_ragged_split = UINT32_MAX;

// The most rows of the grid for so many tokens: a long prompt is not to fill it with rows that nobody needs.
inline size_t lc_most_rows(size_t n_tokens) { return 2 * n_tokens; }

// The first requests whole, as many as fit.
inline std::vector<size_t> lc_whole_counts(const std::vector<size_t> & left, size_t n_ubatch) {
    std::vector<size_t> counts;
    size_t              total = 0, longest = 0;
    for (const size_t n : left) {
        const size_t count = std::min(n, n_ubatch - total);
        longest            = std::max(longest, count);
        if (count == 0 || longest * (counts.size() + 1) > lc_most_rows(total + count)) {
            break;
        }
        counts.push_back(count);
        total += count;
    }
    return counts;
}

// All requests up to a number of tokens, the largest that fits.
inline std::vector<size_t> lc_cut_counts(const std::vector<size_t> & left, size_t n_ubatch) {
    const size_t        n = std::min(left.size(), n_ubatch);
    std::vector<size_t> counts(n, 1);
    for (size_t most = 2;; most++) {
        std::vector<size_t> next(n);
        std::transform(left.begin(), left.begin() + n, next.begin(), [most](size_t its) { return std::min(its, most); });
        const size_t total = std::accumulate(next.begin(), next.end(), size_t(0));
        if (next == counts || total > n_ubatch || most * n > lc_most_rows(total)) {
            return counts;
        }
        counts = std::move(next);
    }
}

// How many tokens of each of the first requests go into one micro-batch, given how many each has left.
inline std::vector<size_t> lc_ragged_counts(const std::vector<size_t> & left, size_t n_ubatch) {
    const auto total = [](const std::vector<size_t> & counts) {
        return std::accumulate(counts.begin(), counts.end(), size_t(0));
    };
    std::vector<size_t> whole = lc_whole_counts(left, n_ubatch), cut = lc_cut_counts(left, n_ubatch);
    return total(cut) > total(whole) ? cut : whole;
}

// Where the tokens of each stream of a micro-batch are.
class lc_streams_of {
  public:
    lc_streams_of(const llama_ubatch & ubatch, int64_t n_streams) : first_(1, 0) {
        if (n_streams > 1 && !ubatch.equal_seqs()) {
            for (uint32_t i = 1; i < ubatch.n_tokens; i++) {
                if (ubatch.seq_id[i][0] != ubatch.seq_id[i - 1][0]) {
                    first_.push_back(i);
                }
            }
            first_.push_back(ubatch.n_tokens);
        } else {
            for (int64_t s = 1; s <= n_streams; s++) {
                first_.push_back(s * ubatch.n_tokens / n_streams);
            }
        }
        for (size_t s = 0; s < n(); s++) {
            longest_ = std::max(longest_, count(s));
        }
    }

    size_t   n() const { return first_.size() - 1; }
    uint32_t first(size_t s) const { return first_[s]; }
    uint32_t count(size_t s) const { return first_[s + 1] - first_[s]; }
    uint32_t longest() const { return longest_; }

  private:
    std::vector<uint32_t> first_;
    uint32_t              longest_ = 0;
};

// The tokens of a slot of the cache before its s-th stream.
template <typename Slot> uint32_t lc_first(const Slot & slot, size_t s) {
    return std::accumulate(slot.idxs.begin(), slot.idxs.begin() + s, uint32_t(0),
                           [](uint32_t n, const auto & its) { return n + (uint32_t) its.size(); });
}
