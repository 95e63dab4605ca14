#include "error.h"

#include "json.h"

#include <new>

namespace {

thread_local std::string error;
thread_local bool        pending = false;

void keep(const std::string & type, const std::string & message) {
    error = common_json{ { "type", type }, { "message", message } }.dump_safe();
}

// The type and the message of the exception that is being handled.
void keep_current() {
    try {
        throw;
    } catch (const lc_exception & e) {
        keep(e.type, e.what());
    } catch (const std::invalid_argument & e) {
        keep("invalid_request", e.what());
    } catch (const common_json_error & e) {
        keep("invalid_request", e.what());
    } catch (const std::bad_alloc &) {
        keep("out_of_memory", "out of memory");
    } catch (const std::exception & e) {
        keep("native", e.what());
    } catch (...) {
        keep("native", "unknown C++ exception");
    }
}

} // namespace

void lc_keep_exception() noexcept {
    pending = true;
    try {
        keep_current();
    } catch (...) {
        try {
            error = R"({"type":"native","message":"an error whose message could not be kept"})";
        } catch (...) {
            pending = false;
        }
    }
}

const char * lc_take_error(void) {
    const bool found = pending;
    pending          = false;
    return found ? error.c_str() : nullptr;
}
