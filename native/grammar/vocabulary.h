// The texts of a vocabulary's tokens as a trie over bytes, built once per model and shared by all grammars.
#pragma once

#include "llama.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// A node stands for the text from the root down to it. Nodes lie in preorder: the children of node i follow it,
// and what is under it ends at `end`.
struct lc_trie_node {
    int32_t  end;
    int32_t  token; // the first token with this text, or -1; lc_vocabulary::same leads to the others
    uint16_t depth; // bytes of the text
    uint8_t  byte;  // the last byte of the text
    bool     plain; // some token with this text is written out as text: it is no control token
};

struct lc_ordinary;

class lc_vocabulary {
  public:
    // The trie of a vocabulary. Throws std::bad_alloc.
    static std::shared_ptr<const lc_vocabulary> of(const llama_vocab * vocab);

    explicit lc_vocabulary(const llama_vocab * vocab);

    int32_t size() const { return (int32_t) pieces.size(); }

    bool is_eog(llama_token token) const { return eog[token]; }

    // The child of a node for a byte, or 0.
    int32_t child(int32_t node, uint8_t byte) const;

    // Whether this is still what the vocabulary at the same address looks like.
    bool matches(const llama_vocab * vocab) const;

    std::vector<lc_trie_node> nodes;
    std::vector<llama_token>  same;   // of each token: the next one with the same text, or -1
    std::vector<std::string>  pieces; // of each token: its text up to a NUL; empty if a grammar never allows it
    std::vector<llama_token>  plain;  // tokens with a text that are no control tokens
    std::vector<char>         named;  // of each token: whether llama.cpp lets a grammar name it: it is no part of a character
    std::vector<char>         eog;    // of each token: whether it ends the generation
    std::vector<llama_token>  eog_tokens;
    size_t                    longest = 0; // bytes of the longest text of a plain token

    std::shared_ptr<const lc_ordinary> ordinary;

  private:
    void add_nodes(const std::vector<llama_token> & sorted);
    void add_roots();

    int32_t roots[256] = {}; // the children of the root
};

// Drops what is kept for a vocabulary that is about to be freed: the trie and the grammars compiled for it.
void lc_forget_vocabulary(const llama_vocab * vocab);
