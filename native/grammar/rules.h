// A GBNF grammar as llama.cpp parses it, in one row of elements, with the classes of code points that it tells apart.
#pragma once

#include "error.h"

#include "llama-grammar.h"

#include <cstdint>
#include <string>
#include <vector>

// A grammar that cannot be used; the message says why.
struct lc_grammar_error : lc_exception {
    explicit lc_grammar_error(const std::string & message) : lc_exception("invalid_grammar", message) {}
};

class lc_rules {
  public:
    // Throws lc_grammar_error if llama.cpp cannot parse the text.
    lc_rules(const llama_vocab * vocab, const std::string & text, const std::string & root);

    std::vector<llama_grammar_element> elements; // all rules, one after the other
    std::vector<int32_t>               starts;   // of each rule: its first element
    int32_t                            root       = 0; // the start rule
    bool                               has_tokens = false; // whether some elements are tokens, not characters

    // The classes of code points: all of a class match the same elements. classes[i] is the first of class i.
    std::vector<uint32_t> classes;

    int32_t class_of(uint32_t code_point) const {
        return code_point < 128 ? ascii[code_point] : class_beyond_ascii(code_point);
    }

    const llama_grammar_element & at(int32_t position) const { return elements[position]; }

    bool is_end(int32_t position) const {
        return elements[position].type == LLAMA_GRETYPE_END || elements[position].type == LLAMA_GRETYPE_ALT;
    }

    bool is_token(int32_t position) const {
        return elements[position].type == LLAMA_GRETYPE_TOKEN || elements[position].type == LLAMA_GRETYPE_TOKEN_NOT;
    }

    // The position after a terminal (all elements of a set of characters count as one).
    int32_t after(int32_t position) const;
    // The first element of the alternative after the one that `position` is in, or -1.
    int32_t next_alternative(int32_t position) const;

    bool matches(int32_t position, uint32_t code_point) const;
    bool matches_token(int32_t position, llama_token token) const;

    // Whether llama.cpp takes the beginning of a character that can become any from `low` to `high`: an inverse set
    // must hold none of them.
    bool may_match(int32_t position, uint32_t low, uint32_t high) const;

    // Of the code points from `low` to `high` the first that the terminal matches, or -1.
    int64_t first_match(int32_t position, uint32_t low, uint32_t high) const;

  private:
    void    flatten(const llama_grammar_rules & rules);
    void    find_classes();
    int32_t class_beyond_ascii(uint32_t code_point) const;

    int32_t ascii[128] = {};
};

// The code points that the beginning of a UTF-8 sequence can become; `first > last` if there is none.
struct lc_code_points {
    uint32_t first;
    uint32_t last;
    lc_code_points(uint32_t value, int32_t n_remain);
};
