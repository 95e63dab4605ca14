// Tokens that need no model: where a grammar leaves one text, its tokens as the tokenizer writes them.
#pragma once

#include "grammar/grammar.h"

// The tokens that must come next; none where the text may go on in several ways, or where what follows may change
// how its tokens are cut. A model then reads an answer as it would read the same text in a prompt.
//   before: the tokens before, the last of which matter
//   max_left: the answer can end with this many behind the first of them
// Throws lc_grammar_error if that takes too much work.
std::vector<llama_token> lc_forced_tokens(lc_cursor & cursor, const llama_vocab * vocab,
                                          const std::vector<llama_token> & before, int32_t max_left);
