// What a grammar sampler and the samplers beside it know of each other. The grammar sees the tokens of an answer from
// its trigger on; the chain sees all of them, and those of the prompt.
#pragma once

#include "llama.h"

#include <cstdint>
#include <memory>
#include <vector>

// A grammar sampler, which can tell what must come.
struct lc_writer {
    virtual ~lc_writer()                                 = default;
    virtual const std::vector<llama_token> & must_come() = 0;
};

struct lc_progress {
    int32_t                  n_generated = 0;
    std::vector<llama_token> last;               // tokens of the prompt and the answer
    lc_writer *              writer   = nullptr; // null when it is gone
    bool                     is_whole = false;   // whether nothing but the grammar decides what may come
};

// A sampler for the end of a chain that counts and remembers tokens.
llama_sampler * lc_new_counter(std::shared_ptr<lc_progress> made);
