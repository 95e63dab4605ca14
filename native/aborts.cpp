#include "aborts.h"

#include "ggml.h"

#include <cstdio>
#include <stdexcept>
#include <string>

#ifdef LLAMACPP_OWN_THREADS
#include "llama_cpp/threads/threads.h"
#endif

namespace {

thread_local int depth = 0;

// Other threads wait for one that computes: an exception there would let them wait for ever.
bool computes() {
#ifdef LLAMACPP_OWN_THREADS
    return lc_is_computing() != 0;
#else
    return false;
#endif
}

// The message begins with a path of the machine that built this.
std::string without_folder(const std::string & message) {
    const size_t end   = message.find(": ");
    const size_t slash = message.find_last_of("/\\", end);
    return slash == std::string::npos || end == std::string::npos ? message : message.substr(slash + 1);
}

void on_abort(const char * message) {
#ifndef _MSC_VER // its C functions may not throw
    if (depth > 0 && !computes()) {
        throw std::runtime_error(without_folder(message));
    }
#endif
    fprintf(stderr, "%s\n", message);
}

} // namespace

lc_catch_aborts::lc_catch_aborts() noexcept { depth++; }

lc_catch_aborts::~lc_catch_aborts() { depth--; }

void lc_install_abort_handler() { ggml_set_abort_callback(on_abort); }
