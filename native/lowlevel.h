// What llamacpp_core.lowlevel needs beyond llama.h. Plain C declarations: read by cffi too.

enum lc_sample_result {
    LC_SAMPLE_NO_LOGITS = -1, // the context has no logits for this index
    LC_SAMPLE_NO_CHOICE = -2, // the chain ended without choosing a token
    LC_SAMPLE_FORBIDDEN = -3, // every candidate was forbidden, so the choice means nothing
    LC_SAMPLE_THROWN    = -4, // an exception, kept for lc_take_error()
};

// Applies a sampler to the logits of output `index` and returns the token that it chose, or one of the
// above. Unlike llama_sampler_sample() it never aborts the process and leaves accepting to the caller.
int32_t lc_sample(struct llama_sampler * sampler, struct llama_context * context, int32_t index);

// A ggml_abort_callback: whether the int32_t that `data` points to is not zero. Asked for every node of a
// graph, so it must not be Python.
bool lc_is_set(void * data);

// Frees a context, and the threads that computed for it if no other context uses them.
void lc_free_context(struct llama_context * context);

// Samplers that allow what a grammar allows, as llama_sampler_init_grammar() and
// llama_sampler_init_grammar_lazy_patterns() make them, and much faster. Null: an exception is kept.
struct llama_sampler * lc_grammar_sampler(const struct llama_vocab * vocab, const char * text, const char * root);
struct llama_sampler * lc_lazy_grammar_sampler(
    const struct llama_vocab * vocab, const char * text, const char * root, const char ** trigger_patterns,
    size_t n_patterns, const llama_token * trigger_tokens, size_t n_tokens);
// Grammars in a chain then keep a way to their end open. n_left: tokens that may still come, the one that ends the
// generation included; -1: no bound.
void lc_grammar_limit(struct llama_sampler * chain, int32_t n_left);
// The fewest tokens known for a text of a grammar, the one that ends the generation included; -1: an exception is
// kept.
int32_t lc_grammar_least(const struct llama_vocab * vocab, const char * text, const char * root);

// Frees a model, and what is kept for grammars over its vocabulary.
void lc_free_model(struct llama_model * model);
