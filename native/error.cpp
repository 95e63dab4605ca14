#include "error.h"

extern "C" {
#include "engine.h"
}

static thread_local std::string tl_error;

void lc_set_error(const char * type, const std::string & message) {
    try {
        json error = { { "type", std::string(type) }, { "message", message } };
        tl_error   = error.dump_safe();
    } catch (...) {
        tl_error = R"({"type":"native","message":"an error whose message could not be kept"})";
    }
}

extern "C" const char * lc_last_error(void) {
    return tl_error.c_str();
}
