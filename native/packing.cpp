#include "packing.h"

#ifdef LLAMACPP_PACKED_PRODUCTS
#include "llama_cpp/encoders/packed.h"
#endif

#include <string>
#include <utility>
#include <vector>

#ifdef LLAMACPP_PACKED_PRODUCTS

// What llama.cpp keeps for its own tools; declared here because its header is no public one.
const std::vector<std::pair<std::string, ggml_tensor *>> & llama_internal_get_tensor_map(const llama_model * model);

void lc_packed::pack(const llama_model * model, const llama_context * ctx) {
    if (llama_get_memory(ctx) != nullptr) {
        return; // it writes text, a token at a time: llama.cpp's own layouts read its weights faster
    }
    weights = std::make_unique<lc_packed_weights>();
    for (const auto & [name, tensor] : llama_internal_get_tensor_map(model)) {
        if (name.find("blk.") != std::string::npos || name.rfind("cls", 0) == 0) { // the rest is looked up by rows
            weights->add(tensor);
        }
    }
}

#else

class lc_packed_weights {};

void lc_packed::pack(const llama_model *, const llama_context *) {}

#endif

lc_packed::lc_packed()  = default;
lc_packed::~lc_packed() = default;
