// The types of weights that products are computed of: how their rows become a strip for the kernel.
//
// Each type says what the bytes of a block's 32 weights are (weight = scale * (byte - shift) or scale * byte +
// minimum), with AVX-512 also those of two rows' blocks in one vector.
#pragma once

#include "kernel.h"

#ifdef LC_PRODUCTS

#    include "ggml-common.h"
#    include "simd-mappings.h"

#    include <algorithm>
#    include <type_traits>

namespace lc_products {

inline __m128i load16(const void * p) { return _mm_loadu_si128(static_cast<const __m128i *>(p)); }
inline __m256i load32(const void * p) { return _mm256_loadu_si256(static_cast<const __m256i *>(p)); }

inline __m256i both(__m256i a, __m256i b) { return _mm256_or_si256(a, b); }

// `mask` of each byte, from the bit `first` on.
template <int first, int mask> inline __m256i bits(__m256i x) {
    return _mm256_and_si256(_mm256_srli_epi16(x, first), _mm256_set1_epi8(mask));
}
template <int n> inline __m256i left(__m256i x) { return _mm256_slli_epi16(x, n); }

inline __m256i joined(__m256i x) { return x; }

// Signed bytes, made unsigned.
inline __m256i shifted(__m256i x) { return _mm256_xor_si256(x, _mm256_set1_epi8(-128)); }

// 32 weights of four bits: the low halves of 16 bytes, then the high ones.
inline __m256i nibbles(const uint8_t * p) {
    const __m128i x = load16(p);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(x, 4), x), _mm256_set1_epi8(15));
}

// `value` in each byte whose bit of the 32 is set.
inline __m256i where_set(int value, const uint8_t * p) {
    uint32_t all_bits;
    memcpy(&all_bits, p, sizeof(all_bits));
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit     = _mm256_set1_epi64x((long long) 0x8040201008040201);
    const __m256i spread  = _mm256_shuffle_epi8(_mm256_set1_epi32((int) all_bits), byte_of);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit), _mm256_set1_epi8((char) value));
}

#    if defined(__AVX512F__) && defined(__AVX512BW__)
inline __m512i joined(__m256i x, __m256i y) { return _mm512_inserti64x4(_mm512_castsi256_si512(x), y, 1); }
inline __m512i load32(const void * p, const void * q) { return joined(load32(p), load32(q)); }
template <int first, int mask> inline __m512i bits(__m512i x) {
    return _mm512_and_si512(_mm512_srli_epi16(x, first), _mm512_set1_epi8(mask));
}
template <int n> inline __m512i left(__m512i x) { return _mm512_slli_epi16(x, n); }
inline __m512i both(__m512i a, __m512i b) { return _mm512_or_si512(a, b); }
inline __m512i shifted(__m512i x) { return _mm512_xor_si512(x, _mm512_set1_epi8(-128)); }
inline __m512i nibbles(const uint8_t * p, const uint8_t * q) {
    const __m512i x = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load16(p)), 0xff00, load16(q));
    const __m512i n = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    return _mm512_and_si512(_mm512_srlv_epi64(x, n), _mm512_set1_epi8(15));
}
inline __m512i where_set(int value, const uint8_t * p, const uint8_t * q) {
    uint32_t low, high;
    memcpy(&low, p, sizeof(low));
    memcpy(&high, q, sizeof(high));
    return _mm512_maskz_set1_epi8(low | (uint64_t) high << 32, (char) value);
}
#    endif

struct q4_0 : form<false, 15> {
    using block  = block_q4_0;
    using tokens = block_q8_0;
    static constexpr int shift = 8;
    template <typename... B> static auto values(const B &... x) { return nibbles(x.qs...); }
};

struct q4_1 : form<true, 15> {
    using block  = block_q4_1;
    using tokens = block_q8_1;
    static constexpr int shift = 0;
    template <typename... B> static auto values(const B &... x) { return nibbles(x.qs...); }
};

struct q5_0 : form<false, 31> {
    using block  = block_q5_0;
    using tokens = block_q8_0;
    static constexpr int shift = 16;
    template <typename... B> static auto values(const B &... x) {
        return both(nibbles(x.qs...), where_set(16, x.qh...));
    }
};

struct q5_1 : form<true, 31> {
    using block  = block_q5_1;
    using tokens = block_q8_1;
    static constexpr int shift = 0;
    template <typename... B> static auto values(const B &... x) {
        return both(nibbles(x.qs...), where_set(16, x.qh...));
    }
};

struct q8_0 : form<false, 255> {
    using block  = block_q8_0;
    using tokens = block_q8_0;
    static constexpr int shift = 128;
    template <typename... B> static auto values(const B &... x) { return shifted(load32(x.qs...)); }
};

// Eight rows of 32 bytes become eight vectors of four bytes of each row.
inline void across(__m256i (&row)[8]) {
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
        row[i]     = _mm256_permute2x128_si256(four[i], four[i + 4], 0x20);
        row[i + 4] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x31);
    }
}

// n vectors of eight of a strip's rows.
inline void store_vectors(uint8_t * to, const __m256i * x, int n) {
    for (int i = 0; i < n; i++) {
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(to + i * 4 * lanes), x[i]);
    }
}

// The rows of a strip, of which there may be fewer than lanes: the last one stands for those that are missing.
template <typename W> struct strip_rows {
    using block = typename W::block;

    const block * row[lanes];
    const char *  next; // the strip to come, which follows this one; or null

    strip_rows(const char * data, size_t stride, int n, bool is_last = true) :
        next(is_last ? nullptr : data + lanes * stride) {
        for (int r = 0; r < lanes; r++) {
            row[r] = reinterpret_cast<const block *>(data + std::min(r, n - 1) * stride);
        }
    }

    // Brings as much of the strip to come into the cache as blocks [first, first + n) of this one take up. The
    // processor's own prefetcher does not follow so many rows, each a few hundred bytes long.
    void fetch_next(int first, int n) const {
        if (next) {
            const char * end = next + (first + n) * lanes * sizeof(block);
            for (const char * p = next + first * lanes * sizeof(block); p < end; p += 64) {
                _mm_prefetch(p, _MM_HINT_T0);
            }
        }
    }
};

// Number i of the eight vectors that hold 32 bytes of each row: those of f(row), with AVX-512 of f(row, another row), in
// the order in which add_across() puts them side by side.
template <typename W, typename F> inline ivec vector_of(const strip_rows<W> & rows, int i, F && f) {
    if constexpr (lanes == 16) {
        const int r = i % 4 + i / 4 * 8;
        return f(rows.row[r], rows.row[r + 4]);
    } else {
        return f(rows.row[i]);
    }
}

constexpr int most_scales = 8; // blocks whose scales are converted together

// The scales (and minima) of up to most_scales blocks of each row, as floats, those of a block `step` bytes after
// those of the block before. A block begins with them, in half precision.
template <typename W>
inline void fill_scales(const strip_rows<W> & rows, int first, int n, uint8_t * to, size_t step) {
    using packed = std::conditional_t<W::has_min, uint32_t, uint16_t>;
    alignas(64) packed of_rows[most_scales][lanes];
    for (int i = 0; i < n; i++) {
        for (int r = 0; r < lanes; r++) {
            memcpy(&of_rows[i][r], rows.row[r] + first + i, sizeof(packed));
        }
    }
    for (int i = 0; i < n; i++, to += step) {
        float *         scale = reinterpret_cast<float *>(to);
        const uint8_t * x     = reinterpret_cast<const uint8_t *>(of_rows[i]);
        if constexpr (W::has_min) {
            store(scale, low_halves(load(x)));
            store(scale + lanes, high_halves(load(x)));
        } else {
            store(scale, halves(x));
        }
    }
}

// Unpacks n blocks of each row.
template <typename W> void fill_strip(uint8_t * strip, const strip_rows<W> & rows, int n) {
    for (int first = 0; first < lanes; first += 8) {
        uint8_t * to = strip + first * 4;
        for (int b = 0; b < n; b++, to += W::strip_size) {
            __m256i values[8];
            for (int r = 0; r < 8; r++) {
                values[r] = W::values(rows.row[first + r][b]);
            }
            across(values);
            store_vectors(to, values, 8);
        }
    }
    for (int b = 0; b < n; b += most_scales) {
        uint8_t * to = strip + b * W::strip_size + W::strip_bytes;
        fill_scales(rows, b, std::min(most_scales, n - b), to, W::strip_size);
    }
}

} // namespace lc_products

#endif
