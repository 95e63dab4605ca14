// GELU by vectors: llama.cpp looks each value up in a table of half precision, one after another.
#pragma once

#include "simd.h"

#include <algorithm>

#ifdef LC_SIMD_EXP

// x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3): the tanh form of arXiv:1606.08415
inline lc_simd::vec lc_gelu(lc_simd::vec x) {
    using namespace lc_simd;
    constexpr float factor = -2.0f * 0.79788456080286535587989211986876f;
    const vec       u      = mul(x, fma(all(factor * 0.044715f), mul(x, x), all(factor)));
    return div(x, fma(all(1.0f), ggml_v_expf(u), all(1.0f)));
}

inline void lc_vec_gelu_f32(const int n, float * y, const float * x) {
    using namespace lc_simd;
    int i = 0;
    for (; i + width <= n; i += width) {
        store(y + i, lc_gelu(load(x + i)));
    }
    if (i < n) {
        alignas(64) float rest[width] = {};
        std::copy(x + i, x + n, rest);
        store(rest, lc_gelu(load(rest)));
        std::copy(rest, rest + n - i, y + i);
    }
}

#    define ggml_vec_gelu_f32 lc_vec_gelu_f32
#endif
