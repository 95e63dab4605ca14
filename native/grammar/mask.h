// Which tokens a grammar allows at a place.
#pragma once

#include "grammar/automaton.h"

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <vector>

// The tokens that may come, those that end the generation not among them.
struct lc_mask {
    std::vector<llama_token> few;     // sorted; empty if `bits` is used
    std::vector<uint64_t>    bits;    // one bit per token
    bool                     ends     = false; // whether the tokens that end the generation may come; `bits` has them then
    size_t                   count    = 0;
    int32_t                  farthest = 0;         // the most tokens that the answer still needs after one of them
    int32_t                  nearest  = INT32_MAX; // the fewest that it needs after one that was left out for that

    // Whether it is the mask for answers that must end with `max_left` more.
    bool   holds(int32_t max_left) const { return farthest <= max_left && max_left < nearest; }
    bool   has(llama_token token) const;
    size_t bytes() const { return few.size() * sizeof(llama_token) + bits.size() * sizeof(uint64_t) + 64; }
};

// Walks the trie: what cannot follow takes everything under it away. Ordinary tokens are taken together where that
// can be.
//   max_left: only tokens after which the answer can end with this many more.
lc_mask lc_make_mask(lc_automaton & automaton, const lc_vocabulary & vocabulary, const lc_position & at, int32_t max_left);

// The masks of one automaton that were used last.
class lc_masks {
  public:
    std::shared_ptr<const lc_mask> at(lc_automaton & automaton, const lc_vocabulary & vocabulary, const lc_position & at,
                                      int32_t max_left);

  private:
    using key   = std::pair<int32_t, std::pair<uint32_t, int32_t>>;
    using entry = std::pair<key, std::shared_ptr<const lc_mask>>;

    std::list<entry>                               entries; // used last first
    std::multimap<key, std::list<entry>::iterator> by_key;
    size_t                                         n_bytes = 0;

    void forget_last();
};
