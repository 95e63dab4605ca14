// The few vector operations that attention needs, for the instruction sets that have a fast one.
#pragma once

#include <cstdint>

#if defined(__AVX512F__)

#    include <immintrin.h>
#    define LC_SIMD 1

namespace lc_simd {

using vec                    = __m512;
constexpr int width          = 16;
constexpr int many_registers = 1; // 32 of them

inline vec zero() { return _mm512_setzero_ps(); }
inline vec all(float x) { return _mm512_set1_ps(x); }
inline vec load(const float * p) { return _mm512_loadu_ps(p); }
inline vec load(const uint16_t * p) { // IEEE half precision
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
}
inline void  store(float * p, vec x) { _mm512_storeu_ps(p, x); }
inline vec   mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
inline vec   fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
inline vec   max(vec a, vec b) { return _mm512_max_ps(a, b); }
inline float sum(vec x) { return _mm512_reduce_add_ps(x); }
// out[0..4) = the sums over a, b, c and d; each depends on its own vector alone
inline void store_sums(float * out, vec a, vec b, vec c, vec d) {
    const vec  ab    = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const vec  cd    = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const vec  lanes = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xEE));
    const auto upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(lanes), 1));
    const auto half  = _mm256_add_ps(_mm512_castps512_ps256(lanes), upper);
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}
inline float max(vec x) { return _mm512_reduce_max_ps(x); }
inline vec   div(vec a, vec b) { return _mm512_div_ps(a, b); }
// out[i * stride + 0..4) = a[i], b[i], c[i], d[i]
inline void store_columns(float * out, int stride, vec a, vec b, vec c, vec d) {
    const vec ab[]  = { _mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b) };
    const vec cd[]  = { _mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d) };
    const vec row[] = { _mm512_shuffle_ps(ab[0], cd[0], 0x44), _mm512_shuffle_ps(ab[0], cd[0], 0xEE),
                        _mm512_shuffle_ps(ab[1], cd[1], 0x44), _mm512_shuffle_ps(ab[1], cd[1], 0xEE) };
    for (int i = 0; i < 4; i++) {
        _mm_storeu_ps(out + i * stride, _mm512_castps512_ps128(row[i]));
        _mm_storeu_ps(out + (4 + i) * stride, _mm512_extractf32x4_ps(row[i], 1));
        _mm_storeu_ps(out + (8 + i) * stride, _mm512_extractf32x4_ps(row[i], 2));
        _mm_storeu_ps(out + (12 + i) * stride, _mm512_extractf32x4_ps(row[i], 3));
    }
}

} // namespace lc_simd

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#    include <immintrin.h>
#    define LC_SIMD 1

namespace lc_simd {

using vec                    = __m256;
constexpr int width          = 8;
constexpr int many_registers = 0; // 16 of them

inline vec zero() { return _mm256_setzero_ps(); }
inline vec all(float x) { return _mm256_set1_ps(x); }
inline vec load(const float * p) { return _mm256_loadu_ps(p); }
inline vec load(const uint16_t * p) { // IEEE half precision
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
}
inline void  store(float * p, vec x) { _mm256_storeu_ps(p, x); }
inline vec   mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
inline vec   fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
inline vec   max(vec a, vec b) { return _mm256_max_ps(a, b); }
inline vec   div(vec a, vec b) { return _mm256_div_ps(a, b); }
inline void  store_columns(float * out, int stride, vec a, vec b, vec c, vec d) {
    const vec ab[]  = { _mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b) };
    const vec cd[]  = { _mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d) };
    const vec row[] = { _mm256_shuffle_ps(ab[0], cd[0], 0x44), _mm256_shuffle_ps(ab[0], cd[0], 0xEE),
                        _mm256_shuffle_ps(ab[1], cd[1], 0x44), _mm256_shuffle_ps(ab[1], cd[1], 0xEE) };
    for (int i = 0; i < 4; i++) {
        _mm_storeu_ps(out + i * stride, _mm256_castps256_ps128(row[i]));
        _mm_storeu_ps(out + (4 + i) * stride, _mm256_extractf128_ps(row[i], 1));
    }
}
inline void store_sums(float * out, vec a, vec b, vec c, vec d) {
    const vec ab    = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const vec cd    = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const vec lanes = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1)));
}
inline float sum(vec x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half        = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline float max(vec x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half        = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

} // namespace lc_simd

#elif defined(__aarch64__) && defined(__ARM_NEON)

#    include <arm_neon.h>
#    define LC_SIMD 1

namespace lc_simd {

using vec                    = float32x4_t;
constexpr int width          = 4;
constexpr int many_registers = 1; // 32 of them

inline vec zero() { return vdupq_n_f32(0.0f); }
inline vec all(float x) { return vdupq_n_f32(x); }
inline vec load(const float * p) { return vld1q_f32(p); }
inline vec load(const uint16_t * p) { // IEEE half precision
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
inline void  store(float * p, vec x) { vst1q_f32(p, x); }
inline vec   mul(vec a, vec b) { return vmulq_f32(a, b); }
inline vec   fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
inline vec   max(vec a, vec b) { return vmaxq_f32(a, b); }
inline float sum(vec x) { return vaddvq_f32(x); }
inline void  store_sums(float * out, vec a, vec b, vec c, vec d) {
    vst1q_f32(out, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
}
inline float max(vec x) { return vmaxvq_f32(x); }
inline vec   div(vec a, vec b) { return vdivq_f32(a, b); }
inline void  store_columns(float * out, int stride, vec a, vec b, vec c, vec d) {
    const float32x4x4_t all = { { a, b, c, d } };
    alignas(16) float   columns[16];
    vst4q_f32(columns, all);
    for (int i = 0; i < 4; i++) {
        vst1q_f32(out + i * stride, vld1q_f32(columns + 4 * i));
    }
}

} // namespace lc_simd

#endif

// vec.h's ggml_v_expf() takes these vectors; with SVE it takes others.
#if defined(LC_SIMD) && !defined(__ARM_FEATURE_SVE)
#    define LC_SIMD_EXP 1
#endif
