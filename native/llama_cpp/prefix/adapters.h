// LoRA adapters that come and go while the server core runs. Its list of them is changed by the loop alone, between two
// steps: loaded ones are entered at the end or in the place of one that has gone, and one that goes is kept until no
// slot computes with it. Where it was is an empty entry, so that the others keep their places.
#pragma once

#include "adapters_lock.h"
#include "held.h"

#include "llama-adapter.h"

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

struct lc_adapter_changes {
    std::mutex                                        mutex; // guards what follows
    std::vector<std::pair<int, llama_adapter_lora *>> loaded;
    std::vector<int>                                  leaving;
    std::vector<int>                                  free; // places of the list that are empty
    int                                               n_places = 0;
    std::atomic<bool>                                 any{ false };

    using adapter_list = std::vector<common_adapter_lora_info>;

    // Enters an adapter that only requests with scales of their own use.
    static void enter(adapter_list & list, int place, llama_adapter_lora * adapter) {
        if (list.size() <= (size_t) place) {
            list.resize((size_t) place + 1, common_adapter_lora_info{ "", 0.0f, "", "", nullptr });
        }
        list[(size_t) place] = { "", 0.0f, "", "", adapter };
    }

    static bool uses(const adapter_list & list, int place) {
        return (size_t) place < list.size() && list[(size_t) place].scale != 0.0f;
    }

    // Every list that is compared with others: the one of the model, those of the slots, and those of what is held.
    template <typename F> static void each_list(adapter_list & of_model, std::vector<server_slot> & slots, lc_memory * held, F f) {
        f(of_model);
        for (auto & slot : slots) {
            f(slot.lora);
        }
        if (held != nullptr) {
            for (auto & entry : held->entries) {
                f(entry.lora);
            }
        }
    }

    // Whether the adapter could be taken out: nobody computes with it.
    static bool take_out(llama_context * context, adapter_list & of_model, std::vector<server_slot> & slots, lc_memory * held,
                         int place) {
        for (const auto & slot : slots) {
            if (slot.is_processing() && uses(slot.lora, place)) {
                return false;
            }
        }
        llama_adapter_lora * adapter = of_model[(size_t) place].ptr;
        for (auto & slot : slots) {
            if (uses(slot.lora, place)) {
                slot.prompt_clear();
                slot.lora = of_model;
            }
        }
        if (held != nullptr) {
            held->entries.remove_if([place](const lc_memory::held & entry) { return uses(entry.lora, place); });
        }
        each_list(of_model, slots, held, [place](adapter_list & list) { enter(list, place, nullptr); });
        llama_synchronize(context); // a step whose request was cancelled may still run on a GPU
        llama_set_adapters_lora(context, nullptr, 0, nullptr); // the graph of the last step still names it
        llama_adapter_lora_free(adapter);
        return true;
    }

    void apply(llama_context * context, adapter_list & of_model, std::vector<server_slot> & slots, lc_memory * held) {
        if (!any.load(std::memory_order_acquire)) {
            return;
        }
        std::lock_guard<std::mutex> lock(mutex);
        for (const auto & [place, adapter] : loaded) {
            const int                  at  = place;
            llama_adapter_lora * const ptr = adapter;
            each_list(of_model, slots, held, [at, ptr](adapter_list & list) { enter(list, at, ptr); });
        }
        loaded.clear();
        std::vector<int> still;
        for (const int place : leaving) {
            if (take_out(context, of_model, slots, held, place)) {
                free.push_back(place);
            } else {
                still.push_back(place);
            }
        }
        leaving = std::move(still);
        any     = !leaving.empty();
    }
};
