// A compiled grammar, shared by all requests that use it.
#pragma once

#include "grammar/automaton.h"
#include "grammar/mask.h"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

class lc_grammar {
  public:
    // The grammar of a text, compiled or found among those used last. Throws lc_grammar_error.
    static std::shared_ptr<lc_grammar> of(const llama_vocab * vocab, const std::string & text, const std::string & root);

    // Drops what was compiled for a vocabulary that is about to be freed.
    static void forget(const llama_vocab * vocab);

    lc_grammar(const llama_vocab * vocab, const std::string & text, const std::string & root);

    const std::shared_ptr<const lc_vocabulary> vocabulary;

  private:
    friend class lc_cursor;

    // States and masks that belong together. One that has grown too large is left to the cursors that use it.
    struct generation {
        lc_automaton automaton;
        lc_masks     masks;
    };

    std::shared_ptr<generation> make_generation() const;

    std::shared_ptr<const lc_rules>    rules;
    std::shared_ptr<const lc_endings>  endings;
    std::shared_ptr<lc_closer_endings> closer; // used by one generation at a time
    std::vector<uint32_t>              ordinary; // see lc_ordinary::examples

    std::mutex                  mutex; // guards what all generations hold
    std::shared_ptr<generation> newest;
};

// A text that is being written by a grammar. Its functions throw lc_grammar_error if one token takes too much work.
class lc_cursor {
  public:
    // Throws lc_grammar_error if the grammar allows no text at all.
    explicit lc_cursor(std::shared_ptr<lc_grammar> grammar);

    void restart();
    // text: what the token stands for here. Throws lc_grammar_error if the grammar forbids the token.
    void accept(llama_token token, const std::string & text);
    // Whether a token may come such that the answer can end with `max_left` more.
    bool allows(llama_token token, int32_t max_left);
    // The tokens that may come such that the answer can end with `max_left` more.
    std::shared_ptr<const lc_mask> mask(int32_t max_left);
    // Whether the text may end here.
    bool is_complete();
    // The fewest tokens known to end the answer, the one that ends the generation included; a closer look is taken
    // only where they are more than `enough`.
    int32_t least(int32_t enough);

    // The text that must come, as far as there is one way to go on, and in `behind` texts that may follow it: those
    // of ASCII characters of different kinds, and none if the text may end there.
    std::string only_text(std::vector<std::string> & behind);
    // How many of the tokens, from the first on, may come such that the answer can end with `max_left` behind the first.
    size_t count_allowed(const std::vector<llama_token> & tokens, int32_t max_left);

    const lc_vocabulary & vocabulary() const { return *grammar->vocabulary; }

  private:
    std::unique_lock<std::mutex> begin(); // locks, and allows work for one token
    void                         renew();

    std::shared_ptr<lc_grammar>             grammar;
    std::shared_ptr<lc_grammar::generation> generation;
    lc_position                             at;
};
