// What every generated guard does: run the function, keep the exception, return zero.
#pragma once

#include <exception>

extern "C" {
#include "guard.h"
}

void lc_keep_exception(const char * message) noexcept;

template <typename T, typename F> T lc_guarded(F && call) noexcept {
    try {
        return call();
    } catch (const std::exception & e) {
        lc_keep_exception(e.what());
    } catch (...) {
        lc_keep_exception("unknown C++ exception");
    }
    return T();
}
