// What the self-tests share: small ggml graphs on the CPU, and numbers to feed them.
#pragma once

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace lc_selftest {

template <auto * f> struct freed {
    template <typename T> void operator()(T * p) const { f(p); }
};
using context_ptr = std::unique_ptr<ggml_context, freed<ggml_free>>;
using buffer_ptr  = std::unique_ptr<ggml_backend_buffer, freed<ggml_backend_buffer_free>>;
using backend_ptr = std::unique_ptr<ggml_backend, freed<ggml_backend_free>>;

inline context_ptr new_context() {
    return context_ptr(ggml_init({ 64 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true }));
}

// Numbers around zero, the same in each run.
inline std::vector<float> noise(size_t n, uint32_t seed) {
    std::vector<float> out(n);
    for (float & value : out) {
        float sum = 0;
        for (int i = 0; i < 4; i++) {
            seed = seed * 1664525u + 1013904223u;
            sum += (float) (seed >> 8) / (1 << 24) - 0.5f;
        }
        value = sum;
    }
    return out;
}

} // namespace lc_selftest
