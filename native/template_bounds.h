// The limits of llama_cpp/templates, or nothing where the build leaves that change out.
#pragma once

#ifdef LLAMACPP_BOUNDED_TEMPLATES
#include "llama_cpp/templates/bounds.h"
#else
#include <string>

namespace lc_bounds {

struct session {
    session() {}
    std::string failure() const { return ""; }
};

struct rendering {
    rendering() {}
    bool has_changed_values() const { return false; }
};

} // namespace lc_bounds
#endif
