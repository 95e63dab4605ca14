// How a C++ exception becomes a Python one: caught here, kept as JSON per thread, raised in core.
#pragma once

#include "json.h"

#include <exception>
#include <new>
#include <string>

using json = common_json;

// An error with a type that core maps to an exception class.
struct lc_exception : std::runtime_error {
    std::string type;
    lc_exception(std::string type, const std::string & message)
        : std::runtime_error(message), type(std::move(type)) {}
};

void lc_set_error(const char * type, const std::string & message);

// Runs fn and returns its result, or fallback with the error kept for lc_last_error().
template <typename T, typename F> T lc_guard(T fallback, F && fn) noexcept {
    try {
        return fn();
    } catch (const lc_exception & e) {
        lc_set_error(e.type.c_str(), e.what());
    } catch (const std::invalid_argument & e) {
        lc_set_error("invalid_request", e.what());
    } catch (const common_json_error & e) {
        lc_set_error("invalid_request", e.what());
    } catch (const std::bad_alloc &) {
        lc_set_error("out_of_memory", "out of memory");
    } catch (const std::exception & e) {
        lc_set_error("native", e.what());
    } catch (...) {
        lc_set_error("native", "unknown C++ exception");
    }
    return fallback;
}
