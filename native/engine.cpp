// Opening, feeding, draining and closing llama.cpp's server core inside this process.
#include "engine_impl.h"
#include "llama_cpp/per_process.h"
#include "llama_cpp/prefix/options.h"
#include "template_bounds.h"
#include "mapped_pages.h"
#include "zero_pages.h"

#include "build-info.h"
#include "log.h"

#include <clocale>

namespace {

// Loading touches state of llama.cpp that all models share (log callbacks, memory fitting).
lc_per_process<std::mutex> load_mutex;

// A result that only makes the thread in lc_engine_take() look around.
struct wake_result : server_task_result {
    json to_json() override { return json(nullptr); }
};

void run_loop(lc_engine * engine) {
    const lc_catch_aborts catching;
    try {
        engine->context.start_loop();
    } catch (const std::exception & e) {
        engine->loop_error = e.what();
    } catch (...) {
        engine->loop_error = "unknown C++ exception";
    }
    engine->loop_ended = true;
    engine->wake();
}

// A result of these tasks; null if none came in time, or the engine is closed: see stop() in engine_ref.cpp.
server_task_result_ptr receive(lc_engine & engine, const std::unordered_set<int> & ids, int timeout_s) {
    server_task_result_ptr result;
    engine.n_waiting++;
    if (!engine.closing) {
        result = engine.queues->queue_results.recv_with_timeout(ids, timeout_s);
    }
    engine.n_waiting--;
    return result;
}

const char * pooling_name(enum llama_pooling_type type) {
    switch (type) {
        case LLAMA_POOLING_TYPE_NONE: return "none";
        case LLAMA_POOLING_TYPE_MEAN: return "mean";
        case LLAMA_POOLING_TYPE_CLS:  return "cls";
        case LLAMA_POOLING_TYPE_LAST: return "last";
        case LLAMA_POOLING_TYPE_RANK: return "rank";
        default:                      return "unspecified";
    }
}

std::string describe(lc_engine & e) {
    const auto &          meta  = *e.meta;
    const llama_context * ctx   = e.context.get_llama_context();
    const llama_model *   model = llama_get_model(ctx);
    json                  caps  = json::object();
    for (const auto & [name, value] : meta.chat_template_caps) {
        caps[name] = value;
    }
    const char * chat_template = llama_model_chat_template(model, nullptr);
    json         out           = json::object();
    out["model_name"]          = meta.model_name;
    out["ftype"]               = meta.model_ftype;
    out["n_params"]            = meta.model_n_params;
    out["model_bytes"]         = meta.model_size;
    out["n_ctx_train"]         = meta.model_n_ctx_train;
    out["n_ctx_per_slot"]      = meta.slot_n_ctx;
    out["n_ctx"]               = llama_n_ctx(ctx);
    out["n_batch"]             = llama_n_batch(ctx);
    out["n_ubatch"]            = llama_n_ubatch(ctx);
    out["n_parallel"]          = e.params.n_parallel;
    out["n_threads"]           = e.params.cpuparams.n_threads;
    out["n_embd"]              = llama_model_n_embd_out(model);
    out["n_vocab"]             = meta.model_vocab_n_tokens;
    out["kv_unified"]          = e.params.kv_unified;
    out["flash_attn"]          = (int) e.params.flash_attn_type;
    out["cache_ram_mib"]       = e.params.cache_ram_mib;
#ifdef LLAMACPP_SHARED_PREFIXES
    out["shared_prefixes"] = true;
#else
    out["shared_prefixes"] = false;
#endif
    out["pooling"]           = std::string(pooling_name(meta.pooling_type));
    out["embedding"]         = e.params.embedding;
    out["precision"]         = e.packed.in_bytes ? "fast" : "default";
    out["has_encoder"]       = llama_model_has_encoder(model);
    out["has_decoder"]       = llama_model_has_decoder(model);
    out["has_memory"]        = llama_get_memory(ctx) != nullptr;
    out["image_input"]       = meta.has_inp_image;
    out["audio_input"]       = meta.has_inp_audio;
    out["video_input"]       = meta.has_inp_video;
    out["bos_token"]         = meta.bos_token_str;
    out["eos_token"]         = meta.eos_token_str;
    out["template_caps"]     = caps;
    out["enable_thinking"]   = meta.chat_params.enable_thinking;
    out["has_chat_template"] = chat_template != nullptr || !e.params.chat_template.empty();
    out["chat_template"]     = common_chat_templates_source(meta.chat_params.tmpls.get());
    json kwargs              = json::object();
    for (const auto & [name, value] : e.params.default_template_kwargs) {
        kwargs[name] = json::parse(value);
    }
    out["template_kwargs"] = kwargs;
    out["media_marker"]    = std::string(get_media_marker());
    json loras             = json::array();
    for (const auto & lora : e.params.lora_adapters) {
        loras.push_back({ { "path", lora.path }, { "scale", lora.scale }, { "bytes", lc_adapter_bytes(lora.ptr) } });
    }
    out["lora"] = loras;
    return out.dump_safe();
}

void load(lc_engine & e, const json & config, lc_load_state * state) {
    std::lock_guard<std::mutex> lock(*load_mutex);
    lc_apply_options(e.params, config.at("options"));
    llama_numa_init(e.params.numa);
    e.context.set_state_callback([state](server_state, json payload) {
        if (state == nullptr) {
            return;
        }
        if (payload.contains("value")) {
            state->progress = (float) payload.at("value").get<double>();
        }
        if (state->cancel) {
            throw lc_exception("cancelled", "loading was cancelled");
        }
    });
    lc_watch_caches();
    const bool ok = e.context.load_model(e.params);
    // The callback points into the caller's frame, which is about to go.
    e.context.set_state_callback([](server_state, json) {});
    if (state != nullptr && state->cancel) {
        throw lc_exception("cancelled", "loading was cancelled");
    }
    if (!ok) {
        throw lc_exception("load_failed", "llama.cpp could not load the model");
    }
#ifdef LLAMACPP_SHARED_PREFIXES
    lc_prefix_configure(e.context);
#endif
    const llama_context * ctx = e.context.get_llama_context();
    lc_populate_caches(llama_get_model(ctx), ctx);
    e.packed.pack(llama_get_model(ctx), ctx, config.value("precision", std::string()) == "fast");
    lc_drop_copied_pages(llama_get_model(ctx));
}

void load_templates(lc_engine & e) {
    const auto * all      = e.meta->chat_params.tmpls.get();
    const auto   compiled = [&](const std::string & source) {
        return std::make_unique<lc_template>(source, e.meta->bos_token_str, e.meta->eos_token_str);
    };
    e.chat_template = compiled(common_chat_templates_source(all));
    if (const std::string source = common_chat_templates_source(all, "tool_use"); !source.empty()) {
        e.tool_template = compiled(source);
    }
}

} // namespace

void lc_engine::wake() {
    auto result = std::make_unique<wake_result>();
    result->id  = wake_id;
    queues->queue_results.send(std::move(result));
}

void lc_engine::drop(int64_t request) {
    const auto found = requests.find(request);
    if (found == requests.end()) {
        return;
    }
    std::vector<server_task> cancels;
    for (const int id : found->second->task_ids) {
        if (tasks.erase(id) == 0) {
            continue; // this one has ended
        }
        ids.erase(id);
        queues->queue_results.remove_waiting_task_id(id);
        server_task cancel(SERVER_TASK_TYPE_CANCEL);
        cancel.id_target = id;
        cancels.push_back(std::move(cancel));
    }
    ids_changed = true;
    requests.erase(found);
    if (!cancels.empty()) {
        queues->queue_tasks.post(std::move(cancels), true);
    }
}

extern "C" {

void lc_init(void) {
    lc_guard<void>([] {
        static std::once_flag once;
        std::call_once(once, [] {
            std::setlocale(LC_NUMERIC, "C");
            llama_log_set(common_log_default_callback, nullptr);
            lc_install_abort_handler();
            llama_backend_init();
        });
    });
}

const char * lc_build_info(void) {
    return lc_guard<const char *>(nullptr, [] {
        lc_init();
        static const std::string text = [] {
            json devices = json::array();
            for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
                ggml_backend_dev_t dev  = ggml_backend_dev_get(i);
                size_t             free = 0, total = 0;
                ggml_backend_dev_memory(dev, &free, &total);
                devices.push_back({
                    { "name", std::string(ggml_backend_dev_name(dev)) },
                    { "description", std::string(ggml_backend_dev_description(dev)) },
                    { "type", (int) ggml_backend_dev_type(dev) },
                    { "memory_free", free },
                    { "memory_total", total },
                });
            }
            json out            = json::object();
            out["llama_cpp"]    = std::string(llama_build_info());
            out["system_info"]  = std::string(llama_print_system_info());
            out["gpu_offload"]  = llama_supports_gpu_offload();
            out["mmap"]         = llama_supports_mmap();
            out["mlock"]        = llama_supports_mlock();
            out["max_parallel"] = llama_max_parallel_sequences();
            out["devices"]      = devices;
            out["changes"]      = json::array();
            for (const auto & name : string_split<std::string>(LLAMACPP_CHANGES_MADE, ',')) {
                if (!name.empty()) {
                    out["changes"].push_back(name);
                }
            }
            return out.dump_safe();
        }();
        return text.c_str();
    });
}

int32_t lc_engine_open(lc_engine_ref * ref, const char * options, size_t size, lc_load_state * state) {
    return lc_guard<int32_t>(-1, [&] {
        lc_init();
        const json         config = json::parse(std::string(options, size));
        auto               engine = std::make_unique<lc_engine>();
        lc_bounds::session session; // llama.cpp renders many conversations to find out about the template
        load(*engine, config, state);
        engine->meta    = std::make_unique<server_context_meta>(engine->context.get_meta());
        engine->vocab   = llama_model_get_vocab(llama_get_model(engine->context.get_llama_context()));
        engine->info    = describe(*engine);
        engine->special = std::make_unique<lc_special_tokens>(engine->vocab);
        load_templates(*engine);
        if (const std::string failure = session.failure(); !failure.empty()) {
            throw lc_exception("template_stopped", failure);
        }

        engine->queues  = std::make_unique<server_response_reader>(engine->context.get_response_reader());
        engine->wake_id = engine->queues->get_new_id();
        engine->ids.insert(engine->wake_id);
        engine->queues->queue_results.add_waiting_task_id(engine->wake_id);

        lc_engine * raw          = engine.get();
        engine->adapters->engine = raw;
        for (size_t i = 0; i < engine->params.lora_adapters.size(); i++) {
            engine->adapters->entries[engine->adapters->next++].place = (int) i;
        }
        engine->loop = std::thread([raw] { run_loop(raw); });
        lc_put(*ref, std::move(engine));
        return 0;
    });
}

const char * lc_engine_info(lc_engine_ref * ref) {
    return lc_guard<const char *>(nullptr, [&] { return lc_hold(ref)->info.c_str(); });
}

void lc_cancel(lc_engine_ref * ref, int64_t request) {
    lc_guard<void>([&] {
        const auto engine = lc_hold_open(ref);
        if (!engine) {
            return;
        }
        std::lock_guard<std::mutex> lock(engine->mutex);
        engine->drop(request);
    });
}

int32_t lc_engine_active(lc_engine_ref * ref) {
    return lc_guard<int32_t>(-1, [&] {
        const auto                  engine = lc_hold(ref);
        std::lock_guard<std::mutex> lock(engine->mutex);
        return (int32_t) engine->requests.size();
    });
}

void lc_engine_wake(lc_engine_ref * ref) {
    lc_guard<void>([&] {
        const auto engine = lc_hold_open(ref);
        if (!engine) {
            return;
        }
        engine->wake();
    });
}

int32_t lc_engine_take(lc_engine_ref * ref, const lc_event ** events) {
    return lc_guard<int32_t>(-1, [&] {
        const auto engine = lc_hold(ref);
        engine->stored.clear();
        engine->events.clear();
        int wait_s = 1;
        while (true) {
            {
                std::lock_guard<std::mutex> lock(engine->mutex);
                if (engine->ids_changed) {
                    engine->watched     = engine->ids;
                    engine->ids_changed = false;
                }
            }
            auto result = receive(*engine, engine->watched, wait_s);
            if (!result) {
                break;
            }
            wait_s = 0; // then only what is there already
            if (result->id == engine->wake_id) {
                if (engine->stored.empty()) {
                    bool changed;
                    {
                        std::lock_guard<std::mutex> lock(engine->mutex);
                        changed = engine->ids_changed;
                    }
                    if (!changed) {
                        break; // somebody wants this thread back
                    }
                    wait_s = 1;
                }
                continue;
            }
            lc_store_result(*engine, *result);
        }
        if (engine->loop_ended) {
            const json           error = { { "type", "native" },
                                           { "message", engine->loop_error.empty() ? "the engine's loop has ended" : engine->loop_error } };
            std::vector<int64_t> open;
            {
                std::lock_guard<std::mutex> lock(engine->mutex);
                for (const auto & [id, request] : engine->requests) {
                    open.push_back(id);
                }
            }
            for (const int64_t id : open) {
                lc_store_error(*engine, id, error);
            }
            if (engine->stored.empty()) {
                throw lc_exception("native", error.at("message").get<std::string>());
            }
        }
        engine->events.reserve(engine->stored.size());
        for (auto & stored : engine->stored) {
            stored.event.data = stored.data.data();
            stored.event.size = stored.data.size();
            engine->events.push_back(stored.event);
        }
        *events = engine->events.data();
        return (int32_t) engine->events.size();
    });
}
}
