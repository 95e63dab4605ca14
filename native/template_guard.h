// Templates come from model files of strangers: what keeps llama.cpp's Jinja engine from using up the stack.
#pragma once

#include "jinja/runtime.h"

#include <string>

// Throws a lc_exception "endless_template" for a template that is nested too deeply to be read, or whose macros
// do not stop calling each other. To be called before llama.cpp sees the template. One that cannot be parsed at
// all is left to llama.cpp.
void lc_check_template(const std::string & source);

// Has macros stop at a depth that a stack has room for, and range() at a length that memory has room for.
void lc_guard_template(jinja::program & program);
