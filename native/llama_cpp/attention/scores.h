// A query's scores of some keys: the mask, and the exponentials.
#pragma once

#include "simd.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#ifdef LC_SIMD

namespace lc_attention {

template <typename T> inline float to_float(T x);
template <> inline float           to_float(float x) { return x; }
template <> inline float           to_float(uint16_t x) { return GGML_CPU_FP16_TO_FP32(x); }

// score += slope * mask, which is in half precision; the largest is returned. n may be any number.
inline float add_mask_row(float * score, const uint16_t * mask, float slope, int n) {
    using namespace lc_simd;
    float most = -INFINITY;
    int   j    = 0;
    vec   top  = all(most);
    for (; j + width <= n; j += width) {
        vec x = load(score + j);
        if (mask) {
            x = fma(all(slope), load(mask + j), x);
            store(score + j, x);
        }
        top = lc_simd::max(top, x);
    }
    most = lc_simd::max(top);
    for (; j < n; j++) {
        if (mask) { // rounded as by vectors
            score[j] = std::fma(slope, to_float(mask[j]), score[j]);
        }
        most = std::max(most, score[j]);
    }
    return most;
}

// score = exp(score - max); the sum is returned. Scores after the last are overwritten, up to a whole vector.
inline float exp_row(float * score, float max, int n) {
#    ifdef LC_SIMD_EXP
    using namespace lc_simd;
    const vec shift = all(-max), one = all(1.0f);
    vec       sums  = zero();
    for (int j = n; j % width != 0; j++) {
        score[j] = -INFINITY;
    }
    for (int j = 0; j < n; j += width) {
        const vec x = ggml_v_expf(fma(one, load(score + j), shift));
        store(score + j, x);
        sums = fma(one, x, sums);
    }
    return lc_simd::sum(sums);
#    else
    return (float) ggml_vec_soft_max_f32(n, score, score, max);
#    endif
}

} // namespace lc_attention

#endif
