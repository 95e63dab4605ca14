#include "error.h"

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
