// The innermost loop: a strip of weight rows, one in each lane, times a tile of tokens.
//
// A strip holds, for each block (32 weights of a row, which share a scale), four weights of each row in each vector,
// as unsigned bytes, and the block's scale (and minimum) of each row as floats. A tile holds, for each block, the
// signed bytes of each token one after another, their scales, and their terms: what the product adds whatever the
// weights are. For weights with a minimum, that is a float that the minimum is multiplied by; for the others, an
// integer that makes up for the weights having been shifted to be unsigned.
#pragma once

#include "simd.h"

#ifdef LC_PRODUCTS

#    include <cstring>

namespace lc_products {

constexpr int max_tokens = 16; // of a tile
constexpr int max_left   = 8;  // of a tile that has fewer

// What a kernel must know of a type of weights.
template <bool HAS_MIN, int GREATEST> struct form {
    static constexpr int  length   = 32;       // of a block, whose weights share a scale
    static constexpr bool has_min  = HAS_MIN;  // the weights are scale * byte + minimum
    static constexpr int  greatest = GREATEST; // byte

    // what a block takes up in a strip and in a tile
    static constexpr int strip_bytes  = lanes * length;
    static constexpr int strip_floats = lanes * (HAS_MIN ? 2 : 1);
    static constexpr int strip_size   = strip_bytes + strip_floats * (int) sizeof(float);
    static constexpr int token_size   = length + 2 * (int) sizeof(float);
};

inline int32_t word(const int8_t * p) {
    int32_t x;
    memcpy(&x, p, sizeof(x));
    return x;
}

// sum + what a block adds to it. Whichever way a block's products were added up, all sums grow by this, block after
// block, so that a token's results are the same however many others are computed with it.
template <typename F> inline fvec with_block(fvec sum, ivec acc, fvec scale, fvec min, float factor, float term) {
    sum = fma(to_float(acc), mul(scale, all(factor)), sum);
    return F::has_min ? fma(min, all(term), sum) : sum;
}

// Where a block's products begin: at zero, or at what makes up for the weights having been shifted.
template <typename F> inline ivec first_of(const float * term) {
    return F::has_min ? all(int32_t(0)) : all(word(reinterpret_cast<const int8_t *>(term)));
}

// acc + the block's products, for one token.
template <typename F, int n> inline ivec dot(ivec acc, const ivec (&w)[n], const int8_t * x) {
#    ifdef LC_PRODUCTS_VNNI
    for (int j = 0; j < n; j++) {
        acc = dot4(acc, w[j], all(word(x + 4 * j)));
    }
#    else
    // so many sums of two products fit into 16 bits
    constexpr int fit  = 32767 / (2 * 127 * F::greatest);
    constexpr int step = fit >= 8 ? 8 : fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
    static_assert(fit >= 1, "these weights need 32 bits from the start");
    for (int first = 0; first < n; first += step) {
        ivec sum = pairs16(w[first], all(word(x + 4 * first)));
        for (int j = first + 1; j < first + step && j < n; j++) {
            sum = add16(sum, pairs16(w[j], all(word(x + 4 * j))));
        }
        acc = add32(acc, pairs32(sum));
    }
#    endif
    return acc;
}

inline fvec load_rows(const float * p, int n) {
    if (n == lanes) {
        return load(p);
    }
    float row[lanes] = {};
    memcpy(row, p, n * sizeof(float));
    return load(row);
}

inline void store_rows(float * p, fvec x, int n) {
    if (n == lanes) {
        return store(p, x);
    }
    float row[lanes];
    store(row, x);
    memcpy(p, row, n * sizeof(float));
}

// out[t][row] = (goes_on ? out[t][row] : 0) + the products over n_blocks
template <typename F, int T>
void multiply(const uint8_t * strip, const int8_t * tile, int n_blocks, float * const * out, int n_rows, bool goes_on) {
    fvec sum[T];
    for (int t = 0; t < T; t++) {
        sum[t] = goes_on ? load_rows(out[t], n_rows) : zero();
    }
    for (int i = 0; i < n_blocks; i++) {
        ivec w[F::length / 4];
        for (int j = 0; j < F::length / 4; j++) {
            w[j] = load(strip + j * 4 * lanes);
        }
        const float * scales = reinterpret_cast<const float *>(strip + F::strip_bytes);
        const fvec    scale  = load(scales);
        const fvec    min    = F::has_min ? load(scales + lanes) : zero();
        const float * factor = reinterpret_cast<const float *>(tile + T * F::length);
#    pragma GCC unroll 16 // the sums stay in registers
        for (int t = 0; t < T; t++) {
            const float * term = factor + T + t;
            const ivec    acc  = dot<F>(first_of<F>(term), w, tile + t * F::length);
            sum[t]             = with_block<F>(sum[t], acc, scale, min, factor[t], *term);
        }
        strip += F::strip_size;
        tile += T * F::token_size;
    }
    for (int t = 0; t < T; t++) {
        store_rows(out[t], sum[t], n_rows);
    }
}

using multiply_fn = void (*)(const uint8_t *, const int8_t *, int, float * const *, int, bool);

} // namespace lc_products

#endif
