// GELU by vectors: llama.cpp looks each value up in a table of half precision, one after another.
#pragma once

#include "simd.h"

#ifdef LC_SIMD_EXP

// y = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3): the tanh form of arXiv:1606.08415
inline void lc_vec_gelu_f32(const int n, float * y, const float * x) {
    using namespace lc_simd;
    constexpr float factor = -2.0f * 0.79788456080286535587989211986876f;
    const vec       linear = all(factor), cubic = all(factor * 0.044715f), one = all(1.0f);
    int             i = 0;
    for (; i + width <= n; i += width) {
        const vec v = load(x + i);
        const vec u = mul(v, fma(cubic, mul(v, v), linear));
        store(y + i, div(v, fma(one, ggml_v_expf(u), one)));
    }
    for (; i < n; i++) {
        y[i] = x[i] / (1.0f + expf(x[i] * factor * (1.0f + 0.044715f * x[i] * x[i])));
    }
}

#    define ggml_vec_gelu_f32 lc_vec_gelu_f32
#endif
