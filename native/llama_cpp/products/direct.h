// The innermost loop for one token and few: rows of weights are multiplied where they lie, and each sum grows by what
// with_block() adds in kernel.h, so the results are the same to the last bit.
//
// A vector holds a block of one row (AVX-512: of two), so the products of eight vectors are added across to have each
// row's sum in a lane of its own.
#pragma once

#include "weights.h"

#ifdef LC_PRODUCTS

namespace lc_products {

constexpr int most_direct = 3; // tokens: for more, it pays to unpack a strip

inline ivec dot_bytes(ivec u8, ivec s8) {
#    ifdef LC_PRODUCTS_VNNI
    return dot4(all(int32_t(0)), u8, s8);
#    else
    return pairs32(pairs16(u8, s8));
#    endif
}

// Each lane of 128 bits: the sums of that lane of each of the four.
inline ivec add_lanes(ivec a, ivec b, ivec c, ivec d) {
    const ivec ab = add32(low32(a, b), high32(a, b)), cd = add32(low32(c, d), high32(c, d));
    return add32(low64(ab, cd), high64(ab, cd));
}

// The sum of each row's products.
inline ivec add_across(const ivec (&x)[8]) {
    const ivec p = add_lanes(x[0], x[1], x[2], x[3]), q = add_lanes(x[4], x[5], x[6], x[7]);
    return add32(even128(p, q), odd128(p, q));
}

// out[t][row] = (goes_on ? out[t][row] : 0) + the products over n_blocks, of the T tokens of a tile
template <typename W, int T>
void multiply_direct(const strip_rows<W> & rows, const int8_t * tile, int n_blocks, float * const * out, int n_rows,
                     bool goes_on) {
    alignas(64) float scales[most_scales][W::strip_floats];
    fvec              sum[T];
    for (int t = 0; t < T; t++) {
        sum[t] = goes_on ? load_rows(out[t], n_rows) : zero();
    }
    for (int first = 0; first < n_blocks; first += most_scales) {
        const int n = std::min(most_scales, n_blocks - first);
        rows.fetch_next(first, n);
        fill_scales(rows, first, n, reinterpret_cast<uint8_t *>(scales), sizeof(scales[0]));
        for (int i = 0; i < n; i++, tile += T * W::token_size) {
            const float * factor = reinterpret_cast<const float *>(tile + T * W::length);
            const fvec    min    = W::has_min ? load(scales[i] + lanes) : zero();
            ivec          values[8];
            for (int j = 0; j < 8; j++) {
                values[j] = vector_of(rows, j, [&](const auto *... row) { return W::values(row[first + i]...); });
            }
            for (int t = 0; t < T; t++) {
                const float * term = factor + T + t;
                const ivec    x    = repeat(load32(tile + t * W::length));
                ivec          products[8];
                for (int j = 0; j < 8; j++) {
                    products[j] = dot_bytes(values[j], x);
                }
                const ivec acc = add32(first_of<W>(term), add_across(products));
                sum[t]         = with_block<W>(sum[t], acc, load(scales[i]), min, factor[t], *term);
            }
        }
    }
    for (int t = 0; t < T; t++) {
        store_rows(out[t], sum[t], n_rows);
    }
}

template <typename W>
using multiply_direct_fn = void (*)(const strip_rows<W> &, const int8_t *, int, float * const *, int, bool);

} // namespace lc_products

#endif
