// What products of packed weights have in common: vectors, and how rows of weights and of inputs lie in memory.
#pragma once

#include "form.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__) && (defined(__AVX512BW__) || !defined(__AVX512F__))
#    include <immintrin.h>
#    define LC_PACKED_PRODUCTS 1

namespace lc_encoders {

#    if defined(__AVX512F__) && defined(__AVX512BW__)

constexpr int lanes = 16;
constexpr int tile  = 12; // rows that go together: their sums fill the registers
using floats        = __m512;
using ints          = __m512i;

inline floats zero_floats() { return _mm512_setzero_ps(); }
inline ints   zero() { return _mm512_setzero_si512(); }
inline floats all(float x) { return _mm512_set1_ps(x); }
inline floats load(const float * p) { return _mm512_loadu_ps(p); }
inline void   store(float * p, floats x) { _mm512_storeu_ps(p, x); }
inline floats add(floats a, floats b) { return _mm512_add_ps(a, b); }
inline floats mul(floats a, floats b) { return _mm512_mul_ps(a, b); }
inline floats fma(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
inline floats to_floats(ints x) { return _mm512_cvtepi32_ps(x); }
inline ints   load_ints(const void * p) { return _mm512_loadu_si512(p); }
inline void   store_ints(int32_t * p, ints x) { _mm512_storeu_si512(p, x); }
inline ints   all_ints(int32_t x) { return _mm512_set1_epi32(x); }
inline ints add_products(ints sum, ints a, ints b) {
#        if defined(__AVX512VNNI__) && defined(__GNUC__)
    // not the intrinsic: with it GCC 12 copies every sum to the stack in every step
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#        elif defined(__AVX512VNNI__)
    return _mm512_dpwssd_epi32(sum, a, b);
#        else
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
#        endif
}
#        if defined(__AVX512VNNI__)
#            define LC_PACKED_BYTES 1
// bytes of a without a sign, of b with one
inline ints add_byte_products(ints sum, ints a, ints b) {
#            if defined(__GNUC__)
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#            else
    return _mm512_dpbusd_epi32(sum, a, b);
#            endif
}
inline void scale_to_bytes(const float * x, int n, float by, uint8_t * out) { // 128 is zero
    for (int i = 0; i < n; i += 16) {
        const __m512i wide = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(by)));
        const __m128i some = _mm512_cvtepi32_epi8(_mm512_add_epi32(wide, _mm512_set1_epi32(128)));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(out + i), some);
    }
}
#        endif
inline floats absolute(floats x) { return _mm512_abs_ps(x); }
inline floats most(floats a, floats b) { return _mm512_max_ps(a, b); }
inline float  most(floats x) { return _mm512_reduce_max_ps(x); }
inline float  sum(floats x) { return _mm512_reduce_add_ps(x); }
inline void scale_to_ints(const float * x, int n, float by, int16_t * out) {
    for (int i = 0; i < n; i += 16) {
        const __m512i wide = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(by)));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + i), _mm512_cvtepi32_epi16(wide));
    }
}

#    else

constexpr int lanes = 8;
#        if defined(__AVXVNNI__)
constexpr int tile = 6;
#        else
constexpr int tile = 4;
#        endif
using floats        = __m256;
using ints          = __m256i;

inline floats zero_floats() { return _mm256_setzero_ps(); }
inline ints   zero() { return _mm256_setzero_si256(); }
inline floats all(float x) { return _mm256_set1_ps(x); }
inline floats load(const float * p) { return _mm256_loadu_ps(p); }
inline void   store(float * p, floats x) { _mm256_storeu_ps(p, x); }
inline floats add(floats a, floats b) { return _mm256_add_ps(a, b); }
inline floats mul(floats a, floats b) { return _mm256_mul_ps(a, b); }
inline floats fma(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
inline floats to_floats(ints x) { return _mm256_cvtepi32_ps(x); }
inline ints   load_ints(const void * p) { return _mm256_loadu_si256(static_cast<const __m256i *>(p)); }
inline void   store_ints(int32_t * p, ints x) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), x); }
inline ints   all_ints(int32_t x) { return _mm256_set1_epi32(x); }
inline ints add_products(ints sum, ints a, ints b) {
#        if defined(__AVXVNNI__) && defined(__GNUC__)
    asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
#        elif defined(__AVXVNNI__)
    return _mm256_dpwssd_avx_epi32(sum, a, b);
#        else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#        endif
}
#        if defined(__AVXVNNI__)
#            define LC_PACKED_BYTES 1
inline ints add_byte_products(ints sum, ints a, ints b) {
#            if defined(__GNUC__)
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
#            else
    return _mm256_dpbusd_avx_epi32(sum, a, b);
#            endif
}
inline void scale_to_bytes(const float * x, int n, float by, uint8_t * out) {
    const __m256 factor = _mm256_set1_ps(by);
    for (int i = 0; i < n; i += 16) {
        const __m256i low   = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
        const __m256i high  = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8), factor));
        const __m256i both  = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
        const __m256i moved = _mm256_add_epi16(both, _mm256_set1_epi16(128));
        const __m128i some  = _mm_packus_epi16(_mm256_castsi256_si128(moved), _mm256_extracti128_si256(moved, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(out + i), some);
    }
}
#        endif
inline floats absolute(floats x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
inline floats most(floats a, floats b) { return _mm256_max_ps(a, b); }
inline __m128 halves(floats x, __m128 (*join)(__m128, __m128)) {
    const __m128 four = join(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two  = join(four, _mm_movehl_ps(four, four));
    return join(two, _mm_movehdup_ps(two));
}
inline float most(floats x) { return _mm_cvtss_f32(halves(x, [](__m128 a, __m128 b) { return _mm_max_ps(a, b); })); }
inline float sum(floats x) { return _mm_cvtss_f32(halves(x, [](__m128 a, __m128 b) { return _mm_add_ps(a, b); })); }
inline void scale_to_ints(const float * x, int n, float by, int16_t * out) {
    const __m256 factor = _mm256_set1_ps(by);
    for (int i = 0; i < n; i += 16) {
        const __m256i low  = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
        const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8), factor));
        const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + i), both);
    }
}

#    endif

constexpr int panel = 2 * lanes; // outputs that go together

inline int64_t n_blocks(int64_t width, int block) { return (width + block - 1) / block; }
inline int64_t n_panels(int64_t n_outputs) { return (n_outputs + panel - 1) / panel; }

// The largest value of a row, and the sum of the squares, which is no number if one of the values is none. n: a multiple of
// 16.
struct extent {
    float greatest, squares;

    extent(const float * x, int64_t n) {
        floats high = zero_floats(), all_squares = zero_floats();
        for (int64_t i = 0; i < n; i += lanes) {
            const floats some = load(x + i);
            high              = most(high, absolute(some));
            all_squares       = fma(some, some, all_squares);
        }
        greatest = most(high);
        squares  = sum(all_squares);
    }

    bool has_no_number() const { return std::isnan(squares) || std::isinf(greatest); }
    bool is_nothing() const { return greatest < 1e-30f; }
};

// Packed weights of one matrix.
struct weights {
    int64_t   width, n_outputs;
    form      as;
    void *    values;
    float *   scales;
    int32_t * offsets; // of bytes
    float *   factors; // of bytes: what each input is multiplied by before, or null; the weights hold the inverse
};

// Inputs as integers, in groups of rows.
struct inputs {
    int64_t width, n_rows;
    void *  values;
    float * scales;
};

constexpr int group = 48; // rows; a multiple of every tile
static_assert(group % tile == 0, "a group is made of whole tiles");

inline int64_t n_groups(int64_t n_rows) { return (n_rows + group - 1) / group; }

// The place of a block of a row, in blocks of that many inputs. Rows lie close together: far apart, at powers of two, they
// would push one another out of the nearest cache.
inline int64_t place(int block, int64_t width, int64_t row, int64_t b) {
    return (row / group * n_blocks(width, block) + b) * group + row % group;
}

// A few bytes of a row, the same for all lanes.
inline ints four_bytes(const void * p) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof(bytes));
    return all_ints(bytes);
}

} // namespace lc_encoders

#endif
