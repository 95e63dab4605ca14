#include "grammar/counter.h"

#include "grammar/sampler.h"
#include "sampling.h"

#include <utility>

namespace {

constexpr size_t most_last = 16; // tokens before that the cut of the next ones may depend on

// Tokens of the prompt are accepted without having been sampled.
struct counter {
    std::shared_ptr<lc_progress> made;
    bool                         sampled = false;

    void accept(llama_token token) {
        made->n_generated += sampled;
        sampled    = false;
        auto & all = made->last;
        if (all.size() >= most_last) {
            all.erase(all.begin());
        }
        all.push_back(token);
    }
};

counter & counter_of(const llama_sampler * smpl) { return *(counter *) smpl->ctx; }

llama_sampler * clone_counter(const llama_sampler * smpl);

llama_sampler_i make_counter_interface() {
    llama_sampler_i made = {};
    made.name            = [](const llama_sampler *) { return "generated"; };
    made.apply           = [](llama_sampler * smpl, llama_token_data_array *) { counter_of(smpl).sampled = true; };
    made.accept          = [](llama_sampler * smpl, llama_token token) { counter_of(smpl).accept(token); };
    made.clone           = clone_counter;
    made.free            = [](llama_sampler * smpl) { delete (counter *) smpl->ctx; };
    made.copy_state      = [](const llama_sampler * from, llama_sampler * to) {
        lc_progress & own      = *counter_of(to).made;
        own.n_generated        = counter_of(from).made->n_generated;
        own.last               = counter_of(from).made->last;
        counter_of(to).sampled = counter_of(from).sampled;
    };
    return made;
}

llama_sampler_i counter_interface = make_counter_interface();

llama_sampler * clone_counter(const llama_sampler * smpl) {
    auto made    = std::make_shared<lc_progress>(*counter_of(smpl).made);
    made->writer = nullptr; // it is not known whose copy will be beside this one
    return lc_new_counter(std::move(made));
}

counter * find_counter(common_sampler * smpl) {
    llama_sampler * chain = common_sampler_get(smpl);
    for (int i = llama_sampler_chain_n(chain) - 1; i >= 0; i--) {
        if (const llama_sampler * part = llama_sampler_chain_get(chain, i); part->iface == &counter_interface) {
            return &counter_of(part);
        }
    }
    return nullptr;
}

const std::vector<llama_token> & forced_of(const counter * beside) {
    static const std::vector<llama_token> none;
    return beside && beside->made->writer ? beside->made->writer->must_come() : none;
}

} // namespace

llama_sampler * lc_new_counter(std::shared_ptr<lc_progress> made) {
    return llama_sampler_init(&counter_interface, new counter{ std::move(made) });
}

llama_token lc_take_forced(common_sampler * smpl) {
    counter *    beside = find_counter(smpl);
    const auto & forced = forced_of(beside);
    if (forced.empty()) {
        return LLAMA_TOKEN_NULL;
    }
    beside->sampled = true;
    return forced.front();
}

size_t lc_count_forced(common_sampler * smpl) { return forced_of(find_counter(smpl)).size(); }
