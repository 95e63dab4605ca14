// The grammar sampler that takes the place of llama.cpp's.
#pragma once

#include "common.h"
#include "grammar/constraint.h"
#include "llama.h"

struct common_sampler;

// In common/sampling.cpp these are called in place of llama.cpp's functions without `lc_`. They throw what
// lc_grammar::of() throws. Without a constraint the sampler marks what is forbidden, as llama.cpp's does; with one
// it takes it away, and what goes wrong is told to the constraint.
extern "C" llama_sampler * lc_llama_sampler_init_grammar(const llama_vocab * vocab, const char * text, const char * root);
extern "C" llama_sampler * lc_llama_sampler_init_grammar_lazy_patterns(
    const llama_vocab * vocab, const char * text, const char * root, const char ** trigger_patterns, size_t n_patterns,
    const llama_token * trigger_tokens, size_t n_tokens);

// Lets the grammars of a chain know how many tokens may still come, so that the answer can end; -1: no bound.
void lc_limit_tokens(llama_sampler * chain, int32_t n_left);

// The token that must come next, as if it had been sampled: it is to be accepted. LLAMA_TOKEN_NULL if several may.
llama_token lc_take_forced(common_sampler * smpl);
// How many tokens must come, one after the other.
size_t lc_count_forced(common_sampler * smpl);

// In the server core this is called in place of common_sampler_init(): the grammar sampler learns how many tokens
// were generated.
common_sampler * lc_common_sampler_init(const llama_model * model, common_params_sampling & params);
