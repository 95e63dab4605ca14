// The K types: blocks of 256 weights with a scale for each 16 or 32, and often a minimum too.
//
// Scales and minima are small integers, times one number each of the block. All that a block's products come to is
// added up in integers, and a sum grows once for each block, so there is no order to keep within one.
#pragma once

#include "weights.h"

#ifdef LC_PRODUCTS

#    include <type_traits>
#    include <utility>

namespace lc_products {

constexpr int n_scales = 16; // of a block: one for each 16 weights, or the same one for two of them

// What the kernels must know of a type. `scale`, `min`: 16 signed bytes, for each 16 weights.
template <int PART, bool HAS_MIN, int SHIFT, int GREATEST> struct large_form {
    using tokens = block_q8_K;

    static constexpr int  length   = 256;
    static constexpr int  part     = PART;     // weights with a scale of their own
    static constexpr bool has_min  = HAS_MIN;  // weight = d * scale * byte + dmin * min, else d * scale * (byte - shift)
    static constexpr int  shift    = SHIFT;
    static constexpr int  greatest = GREATEST; // byte

    static constexpr int part_size  = lanes * (PART + (int) sizeof(int32_t));
    static constexpr int mins_at    = length / PART * part_size; // pairs of minima, as integers of 16 bits
    static constexpr int factors_at = mins_at + n_scales / 2 * lanes * (int) sizeof(int32_t);
    static constexpr int strip_size = factors_at + (HAS_MIN ? 2 : 1) * lanes * (int) sizeof(float);
    static constexpr int sums_at    = length; // of a token, in a tile: the sums of each 16 bytes, of 16 bits
    static constexpr int token_size = length + n_scales * (int) sizeof(int16_t) + (int) sizeof(float);
};

inline __m128i bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return _mm_setr_epi32((int) a, (int) b, (int) c, (int) d);
}

inline uint32_t word_at(const uint8_t * p) { return (uint32_t) word(reinterpret_cast<const int8_t *>(p)); }

// Q4_K and Q5_K: six bits each, eight scales and eight minima, of which the last four of each kind lie in two pieces.
inline __m128i six_bits(const uint8_t * p, bool mins) {
    const uint32_t first = word_at(p + (mins ? 4 : 0)), low = word_at(p + 8) >> (mins ? 4 : 0) & 0x0f0f0f0f;
    const __m128i  eight = bytes(first & 0x3f3f3f3f, low | (first >> 6 & 0x03030303) << 4, 0, 0);
    return _mm_unpacklo_epi8(eight, eight);
}

struct q2_K : large_form<16, true, 0, 3> {
    using block = block_q2_K;
    template <int G, typename... B> static auto values(const B &... x) {
        return bits<G % 4 * 2, 3>(load32((x.qs + G / 4 * 32)...));
    }
    static __m128i scales(const block & x) { return _mm_and_si128(load16(x.scales), _mm_set1_epi8(15)); }
    static __m128i mins(const block & x) {
        return _mm_and_si128(_mm_srli_epi16(load16(x.scales), 4), _mm_set1_epi8(15));
    }
};

struct q3_K : large_form<16, false, 4, 7> {
    using block = block_q3_K;
    template <int G, typename... B> static auto values(const B &... x) {
        const auto high = bits<G, 1>(load32(x.hmask...));
        return both(bits<G % 4 * 2, 3>(load32((x.qs + G / 4 * 32)...)), left<2>(high));
    }
    static __m128i scales(const block & x) {
        const uint32_t a = word_at(x.scales), b = word_at(x.scales + 4), c = word_at(x.scales + 8);
        const uint32_t low = 0x0f0f0f0f, two = 0x03030303;
        const __m128i  all = bytes((a & low) | (c & two) << 4, (b & low) | (c >> 2 & two) << 4,
                                   (a >> 4 & low) | (c >> 4 & two) << 4, (b >> 4 & low) | (c >> 6 & two) << 4);
        return _mm_sub_epi8(all, _mm_set1_epi8(32));
    }
};

struct q4_K : large_form<32, true, 0, 15> {
    using block = block_q4_K;
    template <int G, typename... B> static auto values(const B &... x) {
        return bits<G % 2 * 4, 15>(load32((x.qs + G / 2 * 32)...));
    }
    static __m128i scales(const block & x) { return six_bits(x.scales, false); }
    static __m128i mins(const block & x) { return six_bits(x.scales, true); }
};

struct q5_K : large_form<32, true, 0, 31> {
    using block = block_q5_K;
    template <int G, typename... B> static auto values(const B &... x) {
        const auto high = bits<G, 1>(load32(x.qh...));
        return both(bits<G % 2 * 4, 15>(load32((x.qs + G / 2 * 32)...)), left<4>(high));
    }
    static __m128i scales(const block & x) { return six_bits(x.scales, false); }
    static __m128i mins(const block & x) { return six_bits(x.scales, true); }
};

struct q6_K : large_form<16, false, 32, 63> {
    using block = block_q6_K;
    template <int G, typename... B> static auto values(const B &... x) {
        const auto low  = bits<G / 2 % 2 * 4, 15>(load32((x.ql + G / 4 * 64 + G % 2 * 32)...));
        const auto high = bits<G % 4 * 2, 3>(load32((x.qh + G / 4 * 32)...));
        return both(low, left<4>(high));
    }
    static __m128i scales(const block & x) { return load16(x.scales); }
};

// What a row's minima are multiples of, or what the shift is multiplied by: these times the sums of the input's bytes.
template <typename W> inline __m256i mins_of(const typename W::block & x) {
    if constexpr (W::has_min) {
        return _mm256_cvtepi8_epi16(W::mins(x));
    } else {
        return _mm256_cvtepi8_epi16(W::scales(x));
    }
}

template <int... I, typename F> inline void each(std::integer_sequence<int, I...>, F && f) {
    (f(std::integral_constant<int, I>()), ...);
}

// f(0), ..., f(7), each compiled for its number.
template <typename F> inline void eight_times(F && f) { each(std::make_integer_sequence<int, 8>(), f); }

// The block's own scale of each row, and minus that of its minima.
template <typename W> struct factors {
    fvec d, dmin;

    factors(const strip_rows<W> & rows, int b) {
        alignas(64) uint16_t all_d[lanes], all_dmin[lanes];
        for (int r = 0; r < lanes; r++) {
            const typename W::block & x = rows.row[r][b];
            if constexpr (W::has_min) {
                all_d[r]    = x.data.data.d;
                all_dmin[r] = x.data.data.dmin ^ 0x8000;
            } else {
                all_d[r] = x.d;
            }
        }
        d    = halves(reinterpret_cast<const uint8_t *>(all_d));
        dmin = W::has_min ? halves(reinterpret_cast<const uint8_t *>(all_dmin)) : zero();
    }
    explicit factors(const float * p) : d(load(p)), dmin(W::has_min ? load(p + lanes) : zero()) {}
};

// Unpacks n blocks of eight rows, beginning with the first.
template <typename W> void fill_eight(uint8_t * strip, const typename W::block * const * row, int first, int n) {
    for (int b = 0; b < n; b++, strip += W::strip_size) {
        __m256i x[8];
        eight_times([&](auto g) {
            for (int r = 0; r < 8; r++) {
                x[r] = W::template values<g>(row[r][b]);
            }
            across(x);
            constexpr int in_part = W::part / 4, parts = 32 / W::part;
            for (int i = 0; i < parts; i++) {
                store_vectors(strip + (g * parts + i) * W::part_size + first * 4, x + i * in_part, in_part);
            }
        });
        for (int half = 0; half < 2; half++) {
            for (int r = 0; r < 8; r++) {
                const __m128i scales = W::scales(row[r][b]);
                x[r]                 = _mm256_cvtepi8_epi32(half ? _mm_srli_si128(scales, 8) : scales);
            }
            across(x);
            for (int i = 0; i < 8; i += W::part / 16) {
                const int part = (half * 8 + i) * 16 / W::part;
                store_vectors(strip + part * W::part_size + lanes * W::part + first * 4, x + i, 1);
            }
        }
        for (int r = 0; r < 8; r++) {
            x[r] = mins_of<W>(row[r][b]);
        }
        across(x);
        store_vectors(strip + W::mins_at + first * 4, x, 8);
    }
}

template <typename W> void fill_large_strip(uint8_t * strip, const strip_rows<W> & rows, int n) {
    for (int first = 0; first < lanes; first += 8) {
        fill_eight<W>(strip, rows.row + first, first, n);
    }
    for (int b = 0; b < n; b++, strip += W::strip_size) {
        const factors<W> f(rows, b);
        float *          to = reinterpret_cast<float *>(strip + W::factors_at);
        store(to, f.d);
        if (W::has_min) {
            store(to + lanes, f.dmin);
        }
    }
}

// Lays n blocks of a token into its place in a tile of `size` tokens: the bytes of all, their sums, their scales.
template <typename W> void fill_large_token(int8_t * tile, int size, int place, const block_q8_K * x, int n) {
    for (int i = 0; i < n; i++, tile += size * W::token_size) {
        memcpy(tile + place * W::length, x[i].qs, W::length);
        memcpy(tile + size * W::length + place * sizeof(x[i].bsums), x[i].bsums, sizeof(x[i].bsums));
        memcpy(tile + size * (W::length + sizeof(x[i].bsums)) + place * sizeof(float), &x[i].d, sizeof(float));
    }
}

} // namespace lc_products

#endif
