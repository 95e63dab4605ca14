// Choosing the tokens of one answer outside the engine, as the engine would. Plain C declarations: read by cffi too.
#pragma once

#include "engine.h"

typedef struct lc_chooser lc_chooser;

enum lc_choice {
    LC_CHOICE_NO_LOGITS = -1, // the context has no logits
    LC_CHOICE_FORBIDDEN = -2, // every token is forbidden
    LC_CHOICE_THROWN    = -3, // an exception, kept for lc_take_error()
};

// Samplers, grammar and budget of reasoning from llama-server's fields (JSON), for one of several answers. n_tokens: how
// many the answer may have, the one that ends it included; -1: no bound. The engine must be open whenever it chooses.
lc_chooser * lc_chooser_new(lc_engine_ref * engine, const char * fields, size_t size, int32_t index, int32_t n_tokens);
void         lc_chooser_free(lc_chooser * chooser);
// Lets the samplers see what came before the answer. Returns 0, or -1 if an exception was kept.
int32_t lc_chooser_read(lc_chooser * chooser, const int32_t * tokens, size_t n_tokens);
// The next token, which the samplers have then seen, or an lc_choice. The logits, n_vocab of them, are written into the
// context, whose last output must belong to the same vocabulary.
int32_t lc_chooser_choose(lc_chooser * chooser, struct llama_context * context, const float * logits);
