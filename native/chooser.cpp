// Where Python takes part in every token, a context of its own decodes, and this chooses: the fields go the way that
// they go in the server core, and llama.cpp's common sampler is made of them.
#include "engine_impl.h"
#include "grammar/sampler.h"

#include "sampling.h"
#include "server-schema.h"

#include <algorithm>
#include <cmath>

extern "C" {
#include "chooser.h"
}

struct lc_chooser {
    common_params_sampling         params;
    std::shared_ptr<lc_constraint> constraint; // if a grammar holds
    common_sampler_ptr             sampler;
};

namespace {

bool is_possible(float logit) { return logit > -INFINITY; }

int32_t choose(lc_chooser & c, llama_context * context, const float * logits) {
    const int32_t n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
    float *       own     = llama_get_logits_ith(context, -1);
    if (!own) {
        return LC_CHOICE_NO_LOGITS;
    }
    if (!std::any_of(logits, logits + n_vocab, is_possible)) {
        return LC_CHOICE_FORBIDDEN;
    }
    std::copy(logits, logits + n_vocab, own);
    const llama_token token      = common_sampler_sample(c.sampler.get(), context, -1);
    const auto *      candidates = common_sampler_get_candidates(c.sampler.get(), false);
    if (c.constraint && !c.constraint->error().empty()) {
        throw lc_exception("invalid_grammar", c.constraint->error());
    }
    if (candidates->selected < 0 || !is_possible(candidates->data[candidates->selected].logit)) {
        return LC_CHOICE_FORBIDDEN;
    }
    common_sampler_accept(c.sampler.get(), token, true);
    return token;
}

} // namespace

lc_chooser * lc_chooser_new(lc_engine_ref * ref, const char * fields, size_t size, int32_t index, int32_t n_tokens) {
    return lc_guard<lc_chooser *>(nullptr, [&] {
        const auto engine = lc_hold(ref);
        const json data   = json::parse(std::string(fields, size));
        auto       made   = std::make_unique<lc_chooser>();
        made->params =
            server_schema::eval_llama_cmpl_schema(engine->vocab, engine->params, engine->meta->logit_bias_eog, data).sampling;
        if (made->params.seed != LLAMA_DEFAULT_SEED) {
            made->params.seed += (uint32_t) index;
        }
        made->constraint = lc_constrain(*engine, made->params, n_tokens);
        made->sampler.reset(lc_common_sampler_init(llama_get_model(engine->context.get_llama_context()), made->params));
        return made.release();
    });
}

void lc_chooser_free(lc_chooser * chooser) { delete chooser; }

int32_t lc_chooser_read(lc_chooser * chooser, const int32_t * tokens, size_t n_tokens) {
    return lc_guard<int32_t>(-1, [&] {
        for (size_t i = 0; i < n_tokens; i++) {
            common_sampler_accept(chooser->sampler.get(), tokens[i], false);
        }
        return 0;
    });
}

int32_t lc_chooser_choose(lc_chooser * chooser, llama_context * context, const float * logits) {
    return lc_guard<int32_t>(LC_CHOICE_THROWN, [&] { return choose(*chooser, context, logits); });
}
