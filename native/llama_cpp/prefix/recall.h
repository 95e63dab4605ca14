// The part of prefix.cpp that brings back what no slot has any more, and has its part in what comes and goes.
#pragma once

// Brings back what memory or disk have of a task's prompt, if that is more than any slot has. The slot's LoRA
// scales are the task's already.
void lc_prefix::recall(server_context_impl & ctx, server_slot & slot, const server_task & task) {
    auto & held = *ctx.lc_held;
    size_t most = slot.prompt.tokens.get_common_prefix(task.tokens);
    for (const auto & other : ctx.slots) {
        if (!other.lc.shifted && are_lora_equal(other.lora, slot.lora)) {
            most = std::max(most, other.prompt.tokens.get_common_prefix(task.tokens));
        }
    }
    const auto fits = [&](size_t n, size_t n_held) {
        return needs_exact_end(ctx) ? n == n_held && n < task.tokens.size() : n > 0;
    };
    const auto cut = [&](size_t n, size_t n_read) {
        slot.lc.shifted = false;
        slot.lc.read    = std::min(n, n_read);
        if (!needs_exact_end(ctx)) {
            slot.prompt.tokens.keep_first(n);
            slot.mem.seq_rm(slot.id, slot.prompt.tokens.pos_next(), -1);
        }
    };
    auto best = held.entries.end();
    for (auto it = held.entries.begin(); it != held.entries.end(); ++it) {
        const size_t n = are_lora_equal(it->lora, slot.lora) ? it->prompt.tokens.get_common_prefix(task.tokens) : 0;
        if (n >= most + grain && fits(n, it->prompt.tokens.size())) {
            most = n;
            best = it;
        }
    }
    if (best != held.entries.end()) {
        if (lc_memory::restore(slot, best->data, best->prompt.tokens.size())) {
            slot.prompt   = best->prompt.clone();
            slot.lc.exact = std::min(best->exact, most);
            cut(most, best->read);
        }
        held.entries.splice(held.entries.begin(), held.entries, best);
        return;
    }
    const auto disk = held.disk();
    if (!disk || !are_lora_equal(slot.lora, ctx.params_base.lora_adapters)) {
        return;
    }
    const auto [n, path] = disk->best(task.tokens.get_tokens());
    std::vector<llama_token> tokens;
    std::vector<uint8_t>     data;
    if (n < most + least_on_disk || !disk->read(path, tokens, data) || !fits(n, tokens.size())) {
        return;
    }
    server_tokens read(tokens, ctx.mctx != nullptr);
    if (tokens.size() <= (size_t) slot.n_ctx && read.validate(ctx.ctx_tgt) &&
        lc_memory::restore(slot, data, tokens.size())) {
        slot.prompt.clear();
        slot.prompt.tokens = std::move(read);
        slot.lc.exact      = 0;
        cut(n, n);
    }
}

void lc_prefix::change_adapters(server_context_impl & ctx) {
    ctx.lc_adapters->apply(ctx.ctx_tgt, ctx.params_base.lora_adapters, ctx.slots, ctx.lc_held.get());
}

void lc_prefix::use_loras_as_loaded(const server_context_impl & ctx, server_slot & slot) {
    const auto & loaded = ctx.params_base.lora_adapters;
    if (!are_lora_equal(loaded, slot.lora) && lora_should_clear_cache(slot.lora, loaded)) {
        slot.prompt.clear();
    }
    slot.lora = loaded;
}

void lc_prefix::check_left_by(const server_context_impl & ctx, const server_slot & slot, int task) {
    const bool is_left = slot.task_prev && slot.task_prev->id == task && !slot.prompt.tokens.empty();
    if (!is_left || !are_lora_equal(slot.lora, ctx.params_base.lora_adapters)) {
        throw std::runtime_error("a later request has taken the place of the conversation");
    }
}

void lc_prefix_configure(server_context & context) {
    auto & ctx   = *context.impl;
    ctx.lc_held  = std::make_shared<lc_memory>();
    ctx.lc_held->limit = (size_t) std::max(ctx.params_base.cache_ram_mib, 0) * 1024 * 1024;
    ctx.lc_adapters       = std::make_shared<lc_adapter_changes>();
    ctx.lc_adapters->n_places = (int) ctx.params_base.lora_adapters.size();
    ctx.prompt_cache.reset(); // its place is taken
    ctx.params_base.cache_idle_slots = false;
    ctx.lc_spec.is_kept = ctx.params_base.speculative.ngram_simple.min_hits == lc_where_it_pays;
}

void lc_prefix_use_folder(server_context & context, const std::string & folder, uint64_t max_bytes,
                          const std::string & fingerprint) {
    std::shared_ptr<lc_disk> disk;
    if (!folder.empty()) {
        disk = std::make_shared<lc_disk>(std::filesystem::u8path(folder), max_bytes, fingerprint);
    }
    context.impl->lc_held->use(std::move(disk));
}

int lc_prefix_add_adapter(server_context & context, llama_adapter_lora * adapter) {
    auto &                            changes = *context.impl->lc_adapters;
    const std::lock_guard<std::mutex> lock(changes.mutex);
    int                               place = changes.n_places;
    if (changes.free.empty()) {
        changes.n_places++;
    } else {
        place = changes.free.back();
        changes.free.pop_back();
    }
    changes.loaded.emplace_back(place, adapter);
    changes.any.store(true, std::memory_order_release);
    return place;
}

void lc_prefix_remove_adapter(server_context & context, int place) {
    auto &                            changes = *context.impl->lc_adapters;
    const std::lock_guard<std::mutex> lock(changes.mutex);
    changes.leaving.push_back(place);
    changes.any.store(true, std::memory_order_release);
}
