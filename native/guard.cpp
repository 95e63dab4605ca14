#include "guard_impl.h"

#include <string>

static thread_local std::string tl_message;
static thread_local bool        tl_pending = false;

void lc_keep_exception(const char * message) noexcept {
    try {
        tl_message = message;
    } catch (...) {
        tl_message.clear();
    }
    tl_pending = true;
}

extern "C" const char * lc_take_exception(void) {
    const bool pending = tl_pending;
    tl_pending         = false;
    return pending ? tl_message.c_str() : nullptr;
}
