// LoRA adapters that are loaded and unloaded while requests run.
#include "engine_impl.h"
#include "llama_cpp/prefix/options.h"

#include "llama-adapter.h"

struct lc_adapter_hold {
    std::shared_ptr<lc_adapter_table> table;
    std::vector<int32_t>              numbers;
    int64_t                           process = 0;
};

namespace {

[[noreturn]] void is_gone() {
    throw lc_exception("invalid_request", "lora names an adapter that was unloaded before the request began");
}

// With the table's mutex held: takes it out of the server core if nobody holds it.
void free_if_unused(lc_adapter_table & table, int32_t number) {
    const auto found = table.entries.find(number);
    if (found == table.entries.end() || !found->second.leaving || found->second.n_held > 0) {
        return;
    }
#ifdef LLAMACPP_SHARED_PREFIXES
    if (table.engine != nullptr) {
        lc_prefix_remove_adapter(table.engine->context, found->second.place);
        server_task task(SERVER_TASK_TYPE_NEXT_RESPONSE); // only makes the loop look around
        task.id = table.engine->queues->get_new_id();
        table.engine->queues->queue_tasks.post(std::move(task));
    }
#endif
    table.entries.erase(found);
}

void let_go(lc_adapter_table & table, const std::vector<int32_t> & numbers) {
    std::lock_guard<std::mutex> lock(table.mutex);
    for (const int32_t number : numbers) {
        table.entries.at(number).n_held--;
        free_if_unused(table, number);
    }
}

} // namespace

uint64_t lc_adapter_bytes(const llama_adapter_lora * adapter) {
    uint64_t bytes = 0;
    for (const auto & buffer : adapter->bufs) {
        bytes += ggml_backend_buffer_get_size(buffer.get());
    }
    return bytes;
}

json lc_adapter_places(lc_engine & engine, const json & request) {
    if (!request.contains("lora")) {
        return request;
    }
    json                        places = json::array();
    auto &                      table  = *engine.adapters;
    std::lock_guard<std::mutex> lock(table.mutex);
    for (const auto & entry : request.at("lora")) {
        const auto found = table.entries.find(entry.at("id").get<int32_t>());
        if (found == table.entries.end()) {
            is_gone();
        }
        places.push_back({ { "id", found->second.place }, { "scale", entry.at("scale") } });
    }
    if (places.empty()) { // which the server core takes for "as loaded"
        places.push_back({ { "id", -1 }, { "scale", 0.0f } });
    }
    json out    = request;
    out["lora"] = std::move(places);
    return out;
}

extern "C" {

int32_t lc_adapter_load([[maybe_unused]] lc_engine_ref * ref, [[maybe_unused]] const char * path,
                        [[maybe_unused]] uint64_t * bytes) {
    return lc_guard<int32_t>(-1, [&]() -> int32_t {
#ifdef LLAMACPP_SHARED_PREFIXES
        const auto    engine  = lc_hold(ref);
        llama_model * model   = const_cast<llama_model *>(llama_get_model(engine->context.get_llama_context()));
        auto *        adapter = llama_adapter_lora_init(model, path);
        if (adapter == nullptr) {
            throw lc_exception("load_failed", "llama.cpp could not load the adapter");
        }
        *bytes                            = lc_adapter_bytes(adapter);
        auto &                      table = *engine->adapters;
        std::lock_guard<std::mutex> lock(table.mutex);
        if (table.engine == nullptr) {
            llama_adapter_lora_free(adapter);
            throw lc_exception("closed", "the engine was closed");
        }
        const int32_t number        = table.next++;
        table.entries[number].place = lc_prefix_add_adapter(engine->context, adapter);
        return number;
#else
        throw lc_exception("not_supported", "this build has llama.cpp without the changes of native/llama_cpp");
#endif
    });
}

int32_t lc_adapter_unload(lc_engine_ref * ref, int32_t number) {
    return lc_guard<int32_t>(-1, [&] {
        const auto                  engine = lc_hold(ref);
        auto &                      table  = *engine->adapters;
        std::lock_guard<std::mutex> lock(table.mutex);
        const auto                  found = table.entries.find(number);
        if (found == table.entries.end() || found->second.leaving) {
            is_gone();
        }
        found->second.leaving = true;
        free_if_unused(table, number);
        return 0;
    });
}

lc_adapter_hold * lc_adapter_hold_new(lc_engine_ref * ref, const int32_t * numbers, int32_t n_numbers) {
    return lc_guard<lc_adapter_hold *>(nullptr, [&] {
        const auto engine = lc_hold(ref);
        auto       hold   = std::make_unique<lc_adapter_hold>();
        hold->table       = engine->adapters;
        hold->process     = lc_process_id();
        hold->numbers.assign(numbers, numbers + n_numbers);
        std::lock_guard<std::mutex> lock(hold->table->mutex);
        for (const int32_t number : hold->numbers) {
            const auto found = hold->table->entries.find(number);
            if (found == hold->table->entries.end() || found->second.leaving) {
                is_gone();
            }
        }
        for (const int32_t number : hold->numbers) {
            hold->table->entries.at(number).n_held++;
        }
        return hold.release();
    });
}

void lc_adapter_hold_free(lc_adapter_hold * hold) {
    if (hold->process == lc_process_id()) { // in a fork, a lock may be held by a thread that is not there
        let_go(*hold->table, hold->numbers);
    }
    delete hold;
}
}
