// What a grammar allows next, as states that are made when they are first reached and kept.
//
// llama.cpp keeps a set of stacks per request and copies all of them for each character. Here a stack is a node of
// a tree that its extensions share, a state is a set of such nodes, and what follows a state for a character is
// looked up after the first time.
#pragma once

#include "grammar/closer_endings.h"
#include "grammar/rules.h"
#include "grammar/vocabulary.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

// Where a text stands: a state, and the bytes of a character that has begun.
struct lc_position {
    int32_t  state    = -1; // -1: no text of the grammar begins like this
    uint32_t value    = 0;
    int32_t  n_remain = 0;

    bool alive() const { return state >= 0; }
};

class lc_automaton {
  public:
    // ordinary: see lc_ordinary::examples
    lc_automaton(std::shared_ptr<const lc_rules> rules, std::shared_ptr<const lc_endings> endings,
                 std::shared_ptr<lc_closer_endings> closer, std::vector<uint32_t> ordinary);

    // Each of these throws lc_grammar_error if too much work would be needed.
    lc_position start();
    // What follows one byte. `strict`: the byte goes on with a character that an earlier token began.
    lc_position step(const lc_position & at, uint8_t byte, bool strict);
    lc_position feed(const lc_position & at, const std::string & text);
    // What follows an ordinary character, where that is the same for all of them; false where it is not.
    bool step_ordinary(lc_position & at);
    // What follows a token: by its text, or because the grammar names it.
    lc_position accept(const lc_position & at, llama_token token, const std::string & text);
    // The same place in this automaton.
    lc_position take_over(const lc_automaton & other, const lc_position & at);

    // Whether a token may end here: llama.cpp asks more of a character that has begun than that it can become one
    // that the grammar allows.
    bool may_pause(const lc_position & at) const;

    bool is_complete(const lc_position & at) const { return at.n_remain == 0 && states[at.state].complete; }

    // Whether some stack of a state continues with a token that the grammar names.
    bool wants_token(const lc_position & at) const { return states[at.state].wants_token; }

    // Whether the stacks that want a token take this one, whatever its text is.
    bool takes_token(const lc_position & at, llama_token token) const;

    // The fewest tokens known to end the answer, the one that ends the generation included. More is sought for only
    // where they are more than `enough`.
    int32_t least(const lc_position & at, int32_t enough);

    // The only character that may come; -1 if there are several, or the text may end here or go on with a named token.
    int32_t only(const lc_position & at) const;

    size_t bytes() const { return n_bytes; } // about what is kept

    void allow_work(int64_t amount) { work = amount; }

  private:
    struct stack {
        int32_t position; // of the next element
        int32_t under;    // the stack below it
    };

    static constexpr int32_t UNKNOWN = -2;

    struct state {
        std::vector<int32_t> stacks; // sorted; 0 is the empty one
        std::vector<int32_t> next;   // of each class of code points: a state, -1, or UNKNOWN
        bool                 complete    = false;
        bool                 wants_token = false;
        int32_t              least       = -1;
        int32_t              closest     = -1; // the same after a closer look
        int32_t              ordinary    = UNKNOWN; // what follows all ordinary characters: a state, -1, or SEVERAL
    };

    static constexpr int32_t SEVERAL = -3;

    void                         spend(size_t amount);
    int32_t                      push(int32_t position, int32_t under);
    int32_t                      advanced(int32_t stack_id, int32_t position); // the stack when its top moves on to `position`
    const std::vector<int32_t> & terminals(int32_t stack_id);
    int32_t                      follow(int32_t from, uint32_t code_point);
    int32_t                      follow_token(int32_t from, llama_token token);
    int32_t                      state_of(std::vector<int32_t> stacks);
    bool                         may_become(int32_t from, uint32_t value, int32_t n_remain) const;
    const lc_ending &            ending(int32_t stack_id);
    const lc_some_endings &      closer_endings(int32_t stack_id);
    lc_some_endings              find_closer_endings(int32_t stack_id);
    int32_t                      roughly_least(const lc_position & at);
    int32_t                      closely_least(const lc_position & at);
    void                         collect(int32_t stack_id, std::vector<int32_t> & out);

    std::shared_ptr<const lc_rules>    rules;
    std::shared_ptr<const lc_endings>  endings;
    std::shared_ptr<lc_closer_endings> closer;
    std::vector<uint32_t>              ordinary;

    std::vector<stack>                    stacks;
    std::unordered_map<uint64_t, int32_t> stack_ids;
    std::vector<uint32_t>                 seen; // of each stack: the round in which it was last met
    uint32_t                              round = 0;
    // of stacks that were asked for: the stacks with a terminal on top that they become
    std::unordered_map<int32_t, std::vector<int32_t>>             expanded;
    std::unordered_map<int32_t, std::unique_ptr<lc_ending>>       known_endings;
    std::unordered_map<int32_t, std::unique_ptr<lc_some_endings>> known_closer;

    std::vector<state>                      states;
    std::map<std::vector<int32_t>, int32_t> state_ids;
    size_t                                  n_bytes = 0;
    int64_t                                 work    = 0;
};
