#include "packing.h"

#ifdef LLAMACPP_PACKED_PRODUCTS
#include "llama_cpp/encoders/packed.h"

#include "ggml-backend.h"
#endif

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#ifdef LLAMACPP_PACKED_PRODUCTS

// What llama.cpp keeps for its own tools; declared here because its header is no public one.
const std::vector<std::pair<std::string, ggml_tensor *>> & llama_internal_get_tensor_map(const llama_model * model);

namespace {

using tensors = std::vector<std::pair<std::string, ggml_tensor *>>;

bool loses_little_by_bytes(const std::string & name) {
    for (const char * part : { "ffn_up", "ffn_gate.", "ffn_down", "attn_output" }) {
        if (name.find(part) != std::string::npos) {
            return true;
        }
    }
    return false;
}

// The values of a vector; empty if there is no such one in ordinary memory.
std::vector<float> values_of(const tensors & all, const std::string & name) {
    for (const auto & [its_name, t] : all) {
        if (its_name == name && t->type == GGML_TYPE_F32 && t->buffer && ggml_backend_buffer_is_host(t->buffer)) {
            return { (const float *) t->data, (const float *) t->data + ggml_nelements(t) };
        }
    }
    return {};
}

// How large each input of a matrix is next to the others, where a normalisation before it tells; else empty. Those that come
// with a large weight or bias are large in every row.
std::vector<float> spread_of(const tensors & all, const std::string & name, int64_t width) {
    if (name.find("ffn_up") == std::string::npos && name.find("ffn_gate") == std::string::npos) {
        return {};
    }
    const std::string  layer = name.substr(0, name.find("ffn_"));
    std::vector<float> out, bias;
    for (const char * norm : { "attn_norm_2", "attn_output_norm", "ffn_norm" }) { // the last before it comes first
        if (out.empty()) {
            out  = values_of(all, layer + norm + ".weight");
            bias = values_of(all, layer + norm + ".bias");
        }
    }
    if ((int64_t) out.size() != width || (!bias.empty() && bias.size() != out.size())) {
        return {};
    }
    for (size_t i = 0; i < out.size(); i++) {
        out[i] = std::hypot(out[i], bias.empty() ? 0.0f : bias[i]);
    }
    std::vector<float> sorted = out;
    std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
    const float middle = sorted[sorted.size() / 2];
    for (float & value : out) {
        value = middle > 0.0f && std::isfinite(value) ? std::pow(std::clamp(value / middle, 1.0f, 100.0f), 1.25f) : 1.0f;
    }
    return out;
}

} // namespace

void lc_packed::pack(const llama_model * model, const llama_context * ctx, bool fast) {
    if (llama_get_memory(ctx) != nullptr) {
        return; // it writes text, a token at a time: llama.cpp's own layouts read its weights faster
    }
    weights             = std::make_unique<lc_packed_weights>();
    const tensors & all = llama_internal_get_tensor_map(model);
    for (const auto & [name, tensor] : all) {
        if (name.find("blk.") != std::string::npos || name.rfind("cls", 0) == 0) { // the rest is looked up by rows
            const auto   form   = lc_packed_weights::best(fast && loses_little_by_bytes(name));
            const bool   bytes  = form == lc_encoders::form::bytes;
            const size_t before = weights->size();
            weights->add(tensor, form, bytes ? spread_of(all, name, tensor->ne[0]) : std::vector<float>());
            in_bytes = in_bytes || (bytes && weights->size() > before);
        }
    }
}

#else

class lc_packed_weights {};

void lc_packed::pack(const llama_model *, const llama_context *, bool) {}

#endif

lc_packed::lc_packed()  = default;
lc_packed::~lc_packed() = default;
