// Tokens that a mask takes together: those of characters that a JSON string holds as they are.
#pragma once

#include "grammar/vocabulary.h"

#include <cstdint>
#include <vector>

class lc_rules;

// Most places in an answer are inside a string, and there all of these tokens may come or, near a bound on its
// length, all up to a number of characters.
struct lc_ordinary {
    explicit lc_ordinary(const lc_vocabulary & vocabulary);

    // One character of each class of a grammar's code points that the characters of these tokens fall into.
    std::vector<uint32_t> examples(const lc_rules & rules) const;

    std::vector<std::vector<uint64_t>> tokens; // by number of characters, from one on: one bit per token
    std::vector<size_t>                counts; // how many these are
    std::vector<uint32_t>              characters; // sorted: those that occur
    std::vector<lc_trie_node>          others;     // the trie of all other tokens
};
