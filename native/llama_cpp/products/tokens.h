// The activations: quantised as llama.cpp does for each type of weights, and laid out in tiles for the kernel.
#pragma once

#include "weights.h"

#ifdef LC_PRODUCTS

namespace lc_products {

// n tokens in tiles: as many of max_tokens as there are, then one or two of what is left.
struct tiling {
    int64_t n_tokens, n_full, n_tiles;

    explicit tiling(int64_t n) : n_tokens(n), n_full(n / max_tokens), n_tiles(n_full) {
        const int64_t left = n - n_full * max_tokens;
        n_tiles += (left + max_left - 1) / max_left;
    }

    int64_t first(int64_t tile) const {
        const int64_t whole = std::min(tile, n_full) * max_tokens;
        return std::min(n_tokens, whole + std::max<int64_t>(0, tile - n_full) * max_left);
    }
    int     size(int64_t tile) const { return (int) (first(tile + 1) - first(tile)); }
    int64_t tile_of(int64_t token) const {
        const int64_t tile = token / max_tokens;
        return tile < n_full ? tile : n_full + (token - n_full * max_tokens) / max_left;
    }
};

// The quantised activations that a type is multiplied by: scale, bytes, and the sum of a part's.
inline float scale_of(const block_q8_0 & x) { return half(x.d); }
inline float scale_of(const block_q8_1 & x) { return half(x.data.data.d); }
inline float scale_of(const block_q8_K & x) { return x.d; }

template <int PART> int32_t sum_of(const int8_t * p) {
    int32_t sum = 0;
    for (int i = 0; i < PART; i++) {
        sum += p[i];
    }
    return sum;
}
template <int PART> int32_t sum_of(const block_q8_0 & x, int) { return sum_of<PART>(x.qs); }
template <int PART> int32_t sum_of(const block_q8_K & x, int part) {
    const int16_t * sums = x.bsums + part * PART / 16;
    return PART == 16 ? sums[0] : sums[0] + sums[1];
}

template <typename W> float weight_of_min(const block_q8_1 & x, int) { return half(x.data.data.s); }
template <typename W> float weight_of_min(const block_q8_K & x, int part) { return x.d * (float) sum_of<W::part>(x, part); }

template <typename X> constexpr int length_of() { return sizeof(X::qs); }

// Lays `n_parts` parts of a token, which begin at a block's beginning, into its place in a tile of `size` tokens.
template <typename W, typename X> void fill_token(int8_t * tile, int size, int place, const X * x, int n_parts) {
    constexpr int in_block = length_of<X>() / W::part;
    for (int i = 0; i < n_parts; i++, tile += size * W::token_size) {
        const X & block = x[i / in_block];
        const int part  = i % in_block;
        memcpy(tile + place * W::part, block.qs + part * W::part, W::part);
        float * factor = reinterpret_cast<float *>(tile + size * W::part) + place;
        *factor        = scale_of(block);
        if constexpr (W::has_min) {
            factor[size] = weight_of_min<W>(block, part);
        } else {
            const int32_t term = -W::shift * sum_of<W::part>(block, part);
            memcpy(factor + size, &term, sizeof(term));
        }
    }
}

} // namespace lc_products

#endif
