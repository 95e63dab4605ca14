// Who may use an engine, and who frees it. Python can be interrupted between any two of its steps, so nothing
// that counts is done there: a call holds the engine while it runs, and the last to let go frees it.
#include "engine_impl.h"
#include "grammar/vocabulary.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifndef _WIN32
#include <unistd.h>
#endif

#include <chrono>

struct lc_engine_ref {
    std::mutex                 mutex;
    std::shared_ptr<lc_engine> engine; // null: not open yet, or closed
    std::atomic<int64_t>       process{ 0 };
};

struct lc_pin {
    std::shared_ptr<lc_engine> engine;
};

int64_t lc_process_id() {
#ifdef _WIN32
    return 0;
#else
    return (int64_t) getpid();
#endif
}

namespace {

// In a forked child the engine's threads are missing, so it cannot be taken apart.
void free_engine(lc_engine * engine) {
    if (engine->process != lc_process_id()) {
        return;
    }
    lc_forget_vocabulary(engine->vocab);
    delete engine;
#ifdef __GLIBC__
    malloc_trim(0); // what a model took goes back to the system, not to a later one of another size
#endif
}

std::shared_ptr<lc_engine> take_out(lc_engine_ref & ref) {
    std::lock_guard<std::mutex> lock(ref.mutex);
    return std::move(ref.engine);
}

void stop(lc_engine & engine) {
    engine.closing = true;
    {
        std::lock_guard<std::mutex> lock(engine.adapters->mutex);
        engine.adapters->engine = nullptr;
    }
    {
        std::lock_guard<std::mutex> lock(engine.mutex);
        while (!engine.requests.empty()) {
            engine.drop(engine.requests.begin()->first);
        }
    }
    engine.wake();
    // The server core ends the process when it is terminated while a thread waits for a result.
    while (engine.n_waiting > 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    // start_loop() begins by declaring itself running, which undoes a terminate() that came before it.
    while (!engine.loop_ended) {
        engine.context.terminate();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    engine.loop.join();
}

} // namespace

void lc_put(lc_engine_ref & ref, std::unique_ptr<lc_engine> engine) {
    engine->process = lc_process_id();
    ref.process     = engine->process;
    std::shared_ptr<lc_engine>  shared(engine.release(), free_engine);
    std::lock_guard<std::mutex> lock(ref.mutex);
    ref.engine = std::move(shared);
}

std::shared_ptr<lc_engine> lc_hold_open(lc_engine_ref * ref) {
    std::lock_guard<std::mutex> lock(ref->mutex);
    return ref->engine;
}

std::shared_ptr<lc_engine> lc_hold(lc_engine_ref * ref) {
    auto engine = lc_hold_open(ref);
    if (!engine) {
        throw lc_exception("closed", "the engine is closed: create a new Llama");
    }
    return engine;
}

extern "C" {

lc_engine_ref * lc_engine_new(void) {
    return lc_guard<lc_engine_ref *>(nullptr, [] { return new lc_engine_ref; });
}

void lc_engine_close(lc_engine_ref * ref) {
    lc_guard<void>([&] {
        if (ref->process != lc_process_id()) {
            return; // nothing to close, or the parent's, whose lock may have been held at the fork
        }
        if (const auto engine = take_out(*ref)) {
            stop(*engine);
        }
    });
}

void lc_engine_free(lc_engine_ref * ref) {
    lc_engine_close(ref);
    if (ref->process == 0 || ref->process == lc_process_id()) {
        delete ref;
    }
}

lc_pin * lc_pin_new(void) {
    return lc_guard<lc_pin *>(nullptr, [] { return new lc_pin; });
}

void lc_pin_free(lc_pin * pin) { delete pin; }

const struct llama_model * lc_pin_model(lc_pin * pin, lc_engine_ref * ref) {
    return lc_guard<const struct llama_model *>(nullptr, [&] {
        pin->engine = lc_hold(ref);
        return llama_get_model(pin->engine->context.get_llama_context());
    });
}
}
