// Beginnings that no slot has any more, in memory and on disk.
#pragma once

#include "disk.h"

#include <list>
#include <memory>
#include <mutex>
#include <vector>

struct lc_memory {
    struct held {
        server_prompt                         prompt;
        std::vector<common_adapter_lora_info> lora;
        size_t                                read = 0, exact = 0; // as of a slot
        std::vector<uint8_t>                  data;

        size_t size() const {
            size_t bytes = data.size() + prompt.tokens.size() * sizeof(llama_token);
            for (const auto & checkpoint : prompt.checkpoints) {
                bytes += checkpoint.size();
            }
            return bytes;
        }
    };

    std::list<held>          entries; // used last first
    size_t                   limit = 0; // bytes, of all entries

    std::mutex               disk_mutex;
    std::shared_ptr<lc_disk> used_disk;

    std::shared_ptr<lc_disk> disk() {
        std::lock_guard<std::mutex> lock(disk_mutex);
        return used_disk;
    }

    void use(std::shared_ptr<lc_disk> other) {
        {
            std::lock_guard<std::mutex> lock(disk_mutex);
            std::swap(used_disk, other);
        }
        // the one before writes what it still has to
    }

    size_t size() const {
        size_t bytes = 0;
        for (const auto & entry : entries) {
            bytes += entry.size();
        }
        return bytes;
    }

    // Keeps what a slot is about to lose.
    void keep(const server_slot & slot) {
        const auto & tokens = slot.prompt.tokens;
        if (limit == 0 || tokens.empty() || slot.lc.shifted) {
            return;
        }
        for (auto it = entries.begin(); it != entries.end();) {
            const size_t n = are_lora_equal(it->lora, slot.lora) ? it->prompt.tokens.get_common_prefix(tokens) : 0;
            if (n == tokens.size()) {
                entries.splice(entries.begin(), entries, it);
                return;
            }
            it = n == it->prompt.tokens.size() ? entries.erase(it) : std::next(it);
        }
        held entry;
        entry.prompt = slot.prompt.clone();
        entry.lora   = slot.lora;
        entry.read   = slot.lc.read;
        entry.exact  = slot.lc.exact;
        entry.data   = state_of(slot);
        if (entry.size() > limit) {
            return;
        }
        entries.push_front(std::move(entry));
        while (size() > limit) {
            entries.pop_back();
        }
    }

    static std::vector<uint8_t> state_of(const server_slot & slot) {
        std::vector<uint8_t> data(llama_state_seq_get_size_ext(slot.ctx_tgt, slot.id, LLAMA_STATE_SEQ_FLAGS_NONE));
        llama_state_seq_get_data_ext(slot.ctx_tgt, data.data(), data.size(), slot.id, LLAMA_STATE_SEQ_FLAGS_NONE);
        return data;
    }

    // Puts bytes of state_of() into a slot, which is empty if they do not fit.
    static bool restore(server_slot & slot, const std::vector<uint8_t> & data, size_t n_tokens) {
        slot.prompt_clear();
        const size_t n   = llama_state_seq_set_data_ext(slot.ctx_tgt, data.data(), data.size(), slot.id,
                                                        LLAMA_STATE_SEQ_FLAGS_NONE);
        const auto   end = llama_memory_seq_pos_max(llama_get_memory(slot.ctx_tgt), slot.id);
        if (n == data.size() && (slot.mctx || end + 1 == (llama_pos) n_tokens)) {
            return true;
        }
        slot.prompt_clear();
        return false;
    }
};
