// The part of prefix.cpp that writes what needs no model.
#pragma once

llama_token lc_prefix::sample(server_slot & slot, int index) {
    // what was sampled from is asked for, otherwise
    if (!slot.task->params.post_sampling_probs) {
        llama_synchronize(slot.ctx_tgt);
        if (const llama_token forced = lc_take_forced(slot.smpl.get()); forced != LLAMA_TOKEN_NULL) {
            return forced;
        }
    }
    return common_sampler_sample(slot.smpl.get(), slot.ctx_tgt, index);
}

template <typename IsWritten>
bool lc_prefix::append_forced(server_context_impl & ctx, server_slot & slot, IsWritten is_written) {
    slot.lc_ahead.clear();
    // without a step of its own, a token has no probabilities
    if (slot.task->params.sampling.n_probs > 0 || (slot.can_speculate() && !ctx.lc_spec.is_kept)) {
        return true;
    }
    int busy = 0;
    for (const auto & other : ctx.slots) {
        busy += other.is_processing() && !runs_alone(slot);
    }
    const int room = std::min((int) llama_n_batch(ctx.ctx_tgt) / (int) ctx.slots.size() - 1,
                              slot.n_ctx - slot.prompt.n_tokens() - 2);
    const int n = std::min(room, (int) lc_count_forced(slot.smpl.get()));
    // beside others, the tokens are read in steps of their own, while one at a time would go along with theirs
    if (n < busy) {
        return true;
    }
    for (int i = 0; i < n; i++) {
        slot.lc_ahead.push_back(slot.sampled);
        completion_token_output result;
        result.tok          = lc_take_forced(slot.smpl.get());
        result.text_to_send = common_token_to_piece(slot.ctx_tgt, result.tok, is_written(slot, result.tok));
        result.prob         = 1.0f;
        common_sampler_accept(slot.smpl.get(), result.tok, true);
        slot.stats.n_gen += 1;
        if (!ctx.process_token(result, slot)) {
            return false;
        }
    }
    return true;
}
