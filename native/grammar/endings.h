// How a text that a grammar has begun can end with few tokens.
#pragma once

#include "grammar/rules.h"
#include "grammar/vocabulary.h"

#include <cstdint>
#include <memory>
#include <vector>

// Part of a text: a byte, or LC_TOKEN_UNIT plus a token that the grammar names.
using lc_unit                   = int32_t;
constexpr lc_unit LC_TOKEN_UNIT = 256;

constexpr int32_t LC_NEVER = INT32_MAX / 2; // tokens of what cannot be ended

// The rest of an answer: its first units, and how many tokens it takes from each of them on. The token that ends
// the generation counts as one.
struct lc_ending {
    std::vector<lc_unit> head;
    std::vector<int32_t> tokens; // one more than head

    int32_t least() const { return tokens.front(); }
};

// Chooses for each rule of a grammar the alternative that takes the fewest tokens; an ending follows these choices,
// so that after its first token the rest is an ending with one token less.
class lc_endings {
  public:
    lc_endings(std::shared_ptr<const lc_rules> rules, std::shared_ptr<const lc_vocabulary> vocabulary);

    // The ending of an answer of which nothing is missing.
    static lc_ending nothing();

    // What stands in the grammar from `position` to the end of its alternative, then `rest`.
    lc_ending from(int32_t position, const lc_ending & rest) const;

    // What a character that has begun still needs, then `rest`. The terminal at `position` must match it.
    lc_ending character(int32_t position, uint32_t value, int32_t n_remain, const lc_ending & rest) const;

  private:
    friend class lc_closer_endings;

    struct alternative {
        int32_t              rule;
        int32_t              start;
        int32_t              tokens; // of the characters in it
        std::vector<int32_t> refs;
    };

    void                     choose_alternatives();
    std::vector<alternative> read_alternatives() const;
    int64_t                  sum_of(const alternative & one) const; // by the costs of its rules
    bool                     spell(int32_t position, std::vector<lc_unit> & out) const;
    void                     spell_terminal(int32_t position, std::vector<lc_unit> & out) const;
    uint32_t                 example(int32_t position) const;
    lc_ending                join(std::vector<lc_unit> text, const lc_ending & rest) const;
    int32_t                  least_from(const std::vector<lc_unit> & text, size_t at, const std::vector<int32_t> & tokens) const;

    std::shared_ptr<const lc_rules>      rules;
    std::shared_ptr<const lc_vocabulary> vocabulary;
    std::vector<int32_t>                 choice; // of each rule: the first element of an alternative, or -1
    std::vector<int64_t>                 cost;   // of each rule: the tokens of that, each part by itself
    size_t                               window; // units that an ending keeps: no token is longer
};
