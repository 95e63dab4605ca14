// What a slot remembers, written to a file of llama.cpp's and read back.
#include "engine_impl.h"
#include "llama_cpp/prefix/options.h"

#include <unordered_set>

namespace {

// Waits on the calling thread: these tasks take no time but that of the copy, once the slot is idle.
server_task_result_ptr wait_for(lc_engine & e, int id, int32_t timeout_s) {
    auto &                        results = e.queues->queue_results;
    const std::unordered_set<int> ids     = { id };
    server_task_result_ptr        result;
    e.n_waiting++; // closing waits for this
    for (int32_t waited = 0; waited < timeout_s && !result && !e.closing && !e.loop_ended; waited++) {
        result = results.recv_with_timeout(ids, 1);
    }
    e.n_waiting--;
    results.remove_waiting_task_id(id);
    return result;
}

int32_t save_or_restore(lc_engine_ref * ref, server_task && task, const char * path, int32_t timeout_s) {
    const auto engine         = lc_hold(ref);
    task.id                   = engine->queues->get_new_id();
    task.slot_action.filename = path;
    task.slot_action.filepath = path;
    const int id              = task.id;
    engine->queues->queue_results.add_waiting_task_id(id);
    engine->queues->queue_tasks.post(std::move(task));
    const auto result = wait_for(*engine, id, timeout_s);
    if (!result && engine->closing) {
        throw lc_exception("closed", "the engine was closed");
    }
    if (!result) {
        server_task cancel(SERVER_TASK_TYPE_CANCEL);
        cancel.id_target = id;
        engine->queues->queue_tasks.post(std::move(cancel), true);
        throw lc_exception("native", "the slot is still working on a request");
    }
    if (const auto * error = dynamic_cast<server_task_result_error *>(result.get())) {
        throw lc_exception("native", error->err_msg);
    }
    const auto * done = dynamic_cast<server_task_result_slot_save_load *>(result.get());
    if (done == nullptr) {
        throw std::runtime_error("a result of an unknown kind");
    }
    return (int32_t) done->n_tokens;
}

} // namespace

extern "C" int32_t lc_slot_save(lc_engine_ref * ref, int32_t slot, int32_t task_id, const char * path, int32_t timeout_s) {
    return lc_guard<int32_t>(-1, [&] {
        server_task task(SERVER_TASK_TYPE_SLOT_SAVE);
        task.slot_action.id_slot = slot;
        task.id_target           = task_id; // see prefix/change.cmake
        return save_or_restore(ref, std::move(task), path, timeout_s);
    });
}

extern "C" int32_t lc_slot_restore(lc_engine_ref * ref, int32_t slot, const char * path, int32_t timeout_s) {
    return lc_guard<int32_t>(-1, [&] {
        server_task task(SERVER_TASK_TYPE_SLOT_RESTORE);
        task.slot_action.id_slot = slot;
        return save_or_restore(ref, std::move(task), path, timeout_s);
    });
}

extern "C" int32_t lc_engine_keep_prompts([[maybe_unused]] lc_engine_ref * ref, [[maybe_unused]] const char * folder,
                                          [[maybe_unused]] uint64_t     max_bytes,
                                          [[maybe_unused]] const char * fingerprint) {
    return lc_guard<int32_t>(-1, [&] {
#ifdef LLAMACPP_SHARED_PREFIXES
        lc_prefix_use_folder(lc_hold(ref)->context, folder, max_bytes, fingerprint);
        return 0;
#else
        throw lc_exception("not_supported", "this build has llama.cpp without the changes of native/llama_cpp");
        return 0;
#endif
    });
}
