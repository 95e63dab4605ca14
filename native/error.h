// Errors, one way for all native code: caught where C++ ends, kept per thread as JSON, raised in Python. The part
// that C sees is read by cffi too.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// What went wrong in a function of ours, or of llama.cpp, on this thread since the last call of this function: JSON
// {"type", "message"}. Null when nothing did. Valid until the next call on this thread.
const char * lc_take_error(void);

#ifdef __cplusplus
}

#include "aborts.h"

#include <stdexcept>
#include <string>

// An error with a type that core maps to an exception class.
struct lc_exception : std::runtime_error {
    std::string type;
    lc_exception(std::string type, const std::string & message) : std::runtime_error(message), type(std::move(type)) {}
};

// Keeps the exception that is being handled for lc_take_error(). Call it inside a catch block.
void lc_keep_exception() noexcept;

// Runs fn and returns its result; after an exception, which is kept, the fallback.
template <typename T, typename F> T lc_guard(T fallback, F && fn) noexcept {
    const lc_catch_aborts catching;
    try {
        return fn();
    } catch (...) {
        lc_keep_exception();
        return fallback;
    }
}

// The same with zero, or nothing, as the fallback: what the generated guards of llama.cpp's functions do.
template <typename T, typename F> T lc_guard(F && fn) noexcept {
    const lc_catch_aborts catching;
    try {
        return fn();
    } catch (...) {
        lc_keep_exception();
        return T();
    }
}
#endif
