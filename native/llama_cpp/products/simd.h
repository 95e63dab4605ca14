// The vector operations that products need, for x86-64 with AVX2 and up.
#pragma once

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#    define LC_PRODUCTS 1
#    include <immintrin.h>

#    include <cstdint>

namespace lc_products {

#    if defined(__AVX512F__) && defined(__AVX512BW__)

using ivec          = __m512i;
using fvec          = __m512;
constexpr int lanes = 16;

inline ivec load(const uint8_t * p) { return _mm512_loadu_si512(p); }
inline fvec load(const float * p) { return _mm512_loadu_ps(p); }
inline ivec all(int32_t x) { return _mm512_set1_epi32(x); }
inline fvec all(float x) { return _mm512_set1_ps(x); }
inline fvec zero() { return _mm512_setzero_ps(); }
inline void store(float * p, fvec x) { _mm512_storeu_ps(p, x); }
inline fvec mul(fvec a, fvec b) { return _mm512_mul_ps(a, b); }
inline fvec fma(fvec a, fvec b, fvec c) { return _mm512_fmadd_ps(a, b, c); }
inline fvec to_float(ivec x) { return _mm512_cvtepi32_ps(x); }
inline ivec add32(ivec a, ivec b) { return _mm512_add_epi32(a, b); }
inline ivec add16(ivec a, ivec b) { return _mm512_add_epi16(a, b); }
inline ivec pairs16(ivec u8, ivec s8) { return _mm512_maddubs_epi16(u8, s8); }
inline ivec pairs32(ivec s16) { return _mm512_madd_epi16(s16, _mm512_set1_epi16(1)); }
inline ivec sub32(ivec a, ivec b) { return _mm512_sub_epi32(a, b); }
inline ivec mul32(ivec a, ivec b) { return _mm512_mullo_epi32(a, b); }
inline ivec low32(ivec a, ivec b) { return _mm512_unpacklo_epi32(a, b); }
inline ivec high32(ivec a, ivec b) { return _mm512_unpackhi_epi32(a, b); }
inline ivec low64(ivec a, ivec b) { return _mm512_unpacklo_epi64(a, b); }
inline ivec high64(ivec a, ivec b) { return _mm512_unpackhi_epi64(a, b); }
inline ivec even128(ivec a, ivec b) { return _mm512_shuffle_i32x4(a, b, 0x88); }
inline ivec odd128(ivec a, ivec b) { return _mm512_shuffle_i32x4(a, b, 0xdd); }
inline ivec repeat(__m256i x) { return _mm512_broadcast_i64x4(x); }
inline fvec halves(const uint8_t * p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) p)); }
inline fvec low_halves(ivec x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
inline fvec high_halves(ivec x) { return low_halves(_mm512_srli_epi32(x, 16)); }

#    else

using ivec          = __m256i;
using fvec          = __m256;
constexpr int lanes = 8;

inline ivec load(const uint8_t * p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
inline fvec load(const float * p) { return _mm256_loadu_ps(p); }
inline ivec all(int32_t x) { return _mm256_set1_epi32(x); }
inline fvec all(float x) { return _mm256_set1_ps(x); }
inline fvec zero() { return _mm256_setzero_ps(); }
inline void store(float * p, fvec x) { _mm256_storeu_ps(p, x); }
inline fvec mul(fvec a, fvec b) { return _mm256_mul_ps(a, b); }
inline fvec fma(fvec a, fvec b, fvec c) { return _mm256_fmadd_ps(a, b, c); }
inline fvec to_float(ivec x) { return _mm256_cvtepi32_ps(x); }
inline ivec add32(ivec a, ivec b) { return _mm256_add_epi32(a, b); }
inline ivec add16(ivec a, ivec b) { return _mm256_add_epi16(a, b); }
inline ivec pairs16(ivec u8, ivec s8) { return _mm256_maddubs_epi16(u8, s8); }
inline ivec pairs32(ivec s16) { return _mm256_madd_epi16(s16, _mm256_set1_epi16(1)); }
inline ivec sub32(ivec a, ivec b) { return _mm256_sub_epi32(a, b); }
inline ivec mul32(ivec a, ivec b) { return _mm256_mullo_epi32(a, b); }
inline ivec low32(ivec a, ivec b) { return _mm256_unpacklo_epi32(a, b); }
inline ivec high32(ivec a, ivec b) { return _mm256_unpackhi_epi32(a, b); }
inline ivec low64(ivec a, ivec b) { return _mm256_unpacklo_epi64(a, b); }
inline ivec high64(ivec a, ivec b) { return _mm256_unpackhi_epi64(a, b); }
inline ivec even128(ivec a, ivec b) { return _mm256_permute2x128_si256(a, b, 0x20); }
inline ivec odd128(ivec a, ivec b) { return _mm256_permute2x128_si256(a, b, 0x31); }
inline ivec repeat(__m256i x) { return x; }
inline fvec halves(const uint8_t * p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) p)); }
inline fvec high_halves(ivec x) {
    const ivec high = _mm256_srli_epi32(x, 16);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x08)));
}
inline fvec low_halves(ivec x) { return high_halves(_mm256_slli_epi32(x, 16)); }

#    endif

// Each 32-bit lane: acc plus the two products of its signed halves.
#    if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VNNI__)
inline ivec add_pairs(ivec acc, ivec a, ivec b) { return _mm512_dpwssd_epi32(acc, a, b); }
#    elif defined(__AVX512F__) && defined(__AVX512BW__)
inline ivec add_pairs(ivec acc, ivec a, ivec b) { return add32(acc, _mm512_madd_epi16(a, b)); }
#    elif defined(__AVXVNNI__)
inline ivec add_pairs(ivec acc, ivec a, ivec b) { return _mm256_dpwssd_avx_epi32(acc, a, b); }
#    else
inline ivec add_pairs(ivec acc, ivec a, ivec b) { return add32(acc, _mm256_madd_epi16(a, b)); }
#    endif

// Each 32-bit lane: acc plus the four products of its bytes, the first unsigned, the second signed.
#    if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VNNI__)
#        define LC_PRODUCTS_VNNI 1
inline ivec dot4(ivec acc, ivec u8, ivec s8) { return _mm512_dpbusd_epi32(acc, u8, s8); }
#    elif !defined(__AVX512BW__) && defined(__AVXVNNI__)
#        define LC_PRODUCTS_VNNI 1
inline ivec dot4(ivec acc, ivec u8, ivec s8) { return _mm256_dpbusd_avx_epi32(acc, u8, s8); }
#    endif

} // namespace lc_products

#endif
