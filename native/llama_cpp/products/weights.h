// The types of weights that products are computed of: how their rows become a strip for the kernel.
//
// Each type says for a block of `length` weights what the bytes of its groups of 32 are (weight = scale * (byte -
// shift) or scale * byte + minimum), and what its parts' scales and minima are. For fewer than `fewest_tokens`,
// unpacking costs more than it saves.
#pragma once

#include "kernel.h"

#ifdef LC_PRODUCTS

#    include "ggml-common.h"
#    include "simd-mappings.h"

#    include <algorithm>

namespace lc_products {

constexpr int group = 32; // weights that are unpacked at once

inline __m128i load16(const void * p) { return _mm_loadu_si128(static_cast<const __m128i *>(p)); }
inline __m256i load32(const void * p) { return _mm256_loadu_si256(static_cast<const __m256i *>(p)); }

// The bits from `first` on of each byte.
inline __m256i bits(__m256i bytes, int first, int mask) {
    return _mm256_and_si256(_mm256_srl_epi16(bytes, _mm_cvtsi32_si128(first)), _mm256_set1_epi8((char) mask));
}

// 32 weights of four bits: the low halves of 16 bytes, then the high ones.
inline __m256i nibbles(const uint8_t * p) {
    const __m128i x = load16(p);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(x, 4), x), _mm256_set1_epi8(15));
}

// `value` in each byte whose bit of the 32 is set.
inline __m256i where_set(const uint8_t * p, int value) {
    uint32_t all_bits;
    memcpy(&all_bits, p, sizeof(all_bits));
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit     = _mm256_set1_epi64x((long long) 0x8040201008040201);
    const __m256i spread  = _mm256_shuffle_epi8(_mm256_set1_epi32((int) all_bits), byte_of);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit), _mm256_set1_epi8((char) value));
}

inline float half(ggml_half x) { return GGML_CPU_FP16_TO_FP32(x); }

// The scales and minima of Q4_K and Q5_K: six bits each, times one scale of each kind.
template <typename B> inline void scales_and_mins(const B & x, float * scale, float * min) {
    const uint8_t * packed = x.scales;
    const float     d = half(x.data.data.d), dmin = half(x.data.data.dmin);
    for (int i = 0; i < 4; i++) {
        scale[i]     = d * (float) (packed[i] & 63);
        min[i]       = -dmin * (float) (packed[i + 4] & 63);
        scale[i + 4] = d * (float) ((packed[i + 8] & 15) | (packed[i] >> 6 << 4));
        min[i + 4]   = -dmin * (float) ((packed[i + 8] >> 4) | (packed[i + 4] >> 6 << 4));
    }
}

struct q4_0 : form<32, false, 15> {
    using block  = block_q4_0;
    using tokens = block_q8_0;
    static constexpr int length = 32, shift = 8, fewest_tokens = 2;
    static __m256i values(const block & x, int) { return nibbles(x.qs); }
    static void    scales(const block & x, float * scale, float *) { scale[0] = half(x.d); }
};

struct q4_1 : form<32, true, 15> {
    using block  = block_q4_1;
    using tokens = block_q8_1;
    static constexpr int length = 32, shift = 0, fewest_tokens = 2;
    static __m256i values(const block & x, int) { return nibbles(x.qs); }
    static void    scales(const block & x, float * scale, float * min) {
        scale[0] = half(x.data.data.d);
        min[0]   = half(x.data.data.m);
    }
};

struct q5_0 : form<32, false, 31> {
    using block  = block_q5_0;
    using tokens = block_q8_0;
    static constexpr int length = 32, shift = 16, fewest_tokens = 2;
    static __m256i values(const block & x, int) { return _mm256_or_si256(nibbles(x.qs), where_set(x.qh, 16)); }
    static void    scales(const block & x, float * scale, float *) { scale[0] = half(x.d); }
};

struct q5_1 : form<32, true, 31> {
    using block  = block_q5_1;
    using tokens = block_q8_1;
    static constexpr int length = 32, shift = 0, fewest_tokens = 2;
    static __m256i values(const block & x, int) { return _mm256_or_si256(nibbles(x.qs), where_set(x.qh, 16)); }
    static void    scales(const block & x, float * scale, float * min) {
        scale[0] = half(x.data.data.d);
        min[0]   = half(x.data.data.m);
    }
};

struct q8_0 : form<32, false, 255> {
    using block  = block_q8_0;
    using tokens = block_q8_0;
    static constexpr int length = 32, shift = 128, fewest_tokens = 2;
    static __m256i values(const block & x, int) { return _mm256_xor_si256(load32(x.qs), _mm256_set1_epi8(-128)); }
    static void    scales(const block & x, float * scale, float *) { scale[0] = half(x.d); }
};

struct q2_K : form<16, true, 3> {
    using block  = block_q2_K;
    using tokens = block_q8_K;
    static constexpr int length = 256, shift = 0, fewest_tokens = 4;
    static __m256i values(const block & x, int g) { return bits(load32(x.qs + g / 4 * 32), g % 4 * 2, 3); }
    static void    scales(const block & x, float * scale, float * min) {
        for (int i = 0; i < 16; i++) {
            scale[i] = half(x.data.data.d) * (float) (x.scales[i] & 15);
            min[i]   = -half(x.data.data.dmin) * (float) (x.scales[i] >> 4);
        }
    }
};

struct q3_K : form<16, false, 7> {
    using block  = block_q3_K;
    using tokens = block_q8_K;
    static constexpr int length = 256, shift = 4, fewest_tokens = 4;
    static __m256i values(const block & x, int g) {
        const __m256i high = _mm256_slli_epi16(bits(load32(x.hmask), g, 1), 2);
        return _mm256_or_si256(bits(load32(x.qs + g / 4 * 32), g % 4 * 2, 3), high);
    }
    static void scales(const block & x, float * scale, float *) {
        for (int i = 0; i < 16; i++) {
            const int low = x.scales[i % 8] >> (i / 8 * 4) & 15, high = x.scales[8 + i % 4] >> (i / 4 * 2) & 3;
            scale[i]      = half(x.d) * (float) ((low | high << 4) - 32);
        }
    }
};

struct q4_K : form<32, true, 15> {
    using block  = block_q4_K;
    using tokens = block_q8_K;
    static constexpr int length = 256, shift = 0, fewest_tokens = 3;
    static __m256i values(const block & x, int g) { return bits(load32(x.qs + g / 2 * 32), g % 2 * 4, 15); }
    static void    scales(const block & x, float * scale, float * min) { scales_and_mins(x, scale, min); }
};

struct q5_K : form<32, true, 31> {
    using block  = block_q5_K;
    using tokens = block_q8_K;
    static constexpr int length = 256, shift = 0, fewest_tokens = 3;
    static __m256i values(const block & x, int g) {
        const __m256i high = _mm256_slli_epi16(bits(load32(x.qh), g, 1), 4);
        return _mm256_or_si256(bits(load32(x.qs + g / 2 * 32), g % 2 * 4, 15), high);
    }
    static void scales(const block & x, float * scale, float * min) { scales_and_mins(x, scale, min); }
};

struct q6_K : form<16, false, 63> {
    using block  = block_q6_K;
    using tokens = block_q8_K;
    static constexpr int length = 256, shift = 32, fewest_tokens = 4;
    static __m256i values(const block & x, int g) {
        const __m256i low  = bits(load32(x.ql + g / 4 * 64 + g % 2 * 32), g / 2 % 2 * 4, 15);
        const __m256i high = bits(load32(x.qh + g / 4 * 32), g % 4 * 2, 3);
        return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
    }
    static void scales(const block & x, float * scale, float *) {
        for (int i = 0; i < 16; i++) {
            scale[i] = half(x.d) * (float) x.scales[i];
        }
    }
};

// Eight rows of 32 bytes become eight vectors of four bytes of each row, `stride` bytes apart.
inline void store_across(const __m256i (&row)[8], uint8_t * to, int stride) {
    __m256i pair[8], four[8];
    for (int i = 0; i < 8; i += 2) {
        pair[i]     = _mm256_unpacklo_epi32(row[i], row[i + 1]);
        pair[i + 1] = _mm256_unpackhi_epi32(row[i], row[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        four[i]     = _mm256_unpacklo_epi64(pair[i], pair[i + 2]);
        four[i + 1] = _mm256_unpackhi_epi64(pair[i], pair[i + 2]);
        four[i + 2] = _mm256_unpacklo_epi64(pair[i + 1], pair[i + 3]);
        four[i + 3] = _mm256_unpackhi_epi64(pair[i + 1], pair[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        const __m256i low  = _mm256_permute2x128_si256(four[i], four[i + 4], 0x20);
        const __m256i high = _mm256_permute2x128_si256(four[i], four[i + 4], 0x31);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(to + i * stride), low);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(to + (i + 4) * stride), high);
    }
}

// Where the vector of four bytes number j (of 8) of a group begins.
template <typename W> inline uint8_t * vector_at(uint8_t * group_begins, int j) {
    constexpr int in_part = W::part / 4;
    return group_begins + j / in_part * W::strip_size + j % in_part * 4 * lanes;
}

template <typename W> inline void unpack_eight(const typename W::block * const (&row)[8], int g, uint8_t * to) {
    __m256i values[8];
    for (int r = 0; r < 8; r++) {
        values[r] = W::values(row[r][g * group / W::length], g % (W::length / group));
    }
    // the two parts of a group are each as far apart as a part is long
    uint8_t moved[8 * 32];
    if (W::part == group) {
        store_across(values, to, 4 * lanes);
        return;
    }
    store_across(values, moved, 32);
    for (int j = 0; j < 8; j++) {
        memcpy(vector_at<W>(to, j), moved + 32 * j, 32);
    }
}

// Unpacks n_groups groups of 32 weights of each of up to `lanes` rows, from a block's beginning on.
template <typename W> void fill_strip(uint8_t * strip, const char * rows, size_t stride, int n_rows, int n_groups) {
    constexpr int parts_of_block  = W::length / W::part;
    constexpr int group_size      = group / W::part * W::strip_size;
    const typename W::block * row[lanes];
    for (int r = 0; r < lanes; r++) { // the last row stands for those that are missing
        row[r] = reinterpret_cast<const typename W::block *>(rows + std::min(r, n_rows - 1) * stride);
    }
    for (int first = 0; first < lanes; first += 8) {
        const typename W::block * eight[8];
        std::copy(row + first, row + first + 8, eight);
        for (int g = 0; g < n_groups; g++) {
            unpack_eight<W>(eight, g, strip + g * group_size + first * 4);
        }
    }
    for (int r = 0; r < lanes; r++) {
        for (int b = 0; b < n_groups * group / W::length; b++) {
            float scale[parts_of_block], min[parts_of_block];
            W::scales(row[r][b], scale, min);
            for (int i = 0; i < parts_of_block; i++) {
                float * to = reinterpret_cast<float *>(strip + (b * parts_of_block + i) * W::strip_size + W::strip_bytes);
                to[r]      = scale[i];
                if (W::has_min) {
                    to[lanes + r] = min[i];
                }
            }
        }
    }
}

} // namespace lc_products

#endif
