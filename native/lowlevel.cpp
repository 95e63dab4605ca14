#include "error.h"

#include "grammar/grammar.h"
#include "grammar/sampler.h"
#include "grammar/vocabulary.h"

#include "llama.h"

#ifdef LLAMACPP_OWN_THREADS
#include "llama_cpp/threads/threads.h"
#endif

#include <atomic>
#include <cmath>
#include <vector>

extern "C" {
#include "lowlevel.h"
}

static int32_t choose(llama_sampler * sampler, llama_context * context, int32_t index) {
    const float * logits = llama_get_logits_ith(context, index);
    if (!logits) {
        return LC_SAMPLE_NO_LOGITS;
    }
    const int32_t n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));

    // a sampler written in Python may sample again from inside: each call needs its own candidates
    static thread_local std::vector<llama_token_data> spare;
    std::vector<llama_token_data>                     candidates;
    candidates.swap(spare);
    candidates.resize(n_vocab);
    for (int32_t id = 0; id < n_vocab; id++) {
        candidates[id] = { id, logits[id], 0.0f };
    }
    llama_token_data_array array = { candidates.data(), candidates.size(), -1, false };
    llama_sampler_apply(sampler, &array);
    const bool             has_choice = array.selected >= 0 && (size_t) array.selected < array.size;
    const llama_token_data chosen     = has_choice ? array.data[array.selected] : llama_token_data{};
    candidates.swap(spare);

    if (!has_choice) {
        return LC_SAMPLE_NO_CHOICE;
    }
    return std::isinf(chosen.logit) && chosen.logit < 0 ? LC_SAMPLE_FORBIDDEN : chosen.id;
}

extern "C" int32_t lc_sample(llama_sampler * sampler, llama_context * context, int32_t index) {
    return lc_guard<int32_t>(LC_SAMPLE_THROWN, [&] { return choose(sampler, context, index); });
}

extern "C" bool lc_is_set(void * data) {
    return reinterpret_cast<std::atomic<int32_t> *>(data)->load(std::memory_order_relaxed) != 0;
}

extern "C" void lc_free_context(llama_context * context) {
    lc_guard<void>([&] {
        llama_free(context);
#ifdef LLAMACPP_OWN_THREADS
        lc_end_idle_threads();
#endif
    });
}

extern "C" llama_sampler * lc_grammar_sampler(const llama_vocab * vocab, const char * text, const char * root) {
    return lc_guard<llama_sampler *>([&] { return lc_llama_sampler_init_grammar(vocab, text, root); });
}

extern "C" llama_sampler * lc_lazy_grammar_sampler(const llama_vocab * vocab, const char * text, const char * root,
                                                   const char ** trigger_patterns, size_t n_patterns,
                                                   const llama_token * trigger_tokens, size_t n_tokens) {
    return lc_guard<llama_sampler *>([&] {
        return lc_llama_sampler_init_grammar_lazy_patterns(vocab, text, root, trigger_patterns, n_patterns,
                                                           trigger_tokens, n_tokens);
    });
}

extern "C" void lc_grammar_limit(llama_sampler * chain, int32_t n_left) { lc_limit_tokens(chain, n_left); }

extern "C" int32_t lc_grammar_least(const llama_vocab * vocab, const char * text, const char * root) {
    return lc_guard<int32_t>(-1, [&] { return lc_cursor(lc_grammar::of(vocab, text, root)).least(0); });
}

extern "C" void lc_free_model(llama_model * model) {
    lc_guard<void>([&] {
        lc_forget_vocabulary(llama_model_get_vocab(model));
        llama_model_free(model);
    });
}
