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

// The scale of the quantised activations that a type is multiplied by.
inline float scale_of(const block_q8_0 & x) { return GGML_CPU_FP16_TO_FP32(x.d); }
inline float scale_of(const block_q8_1 & x) { return GGML_CPU_FP16_TO_FP32(x.data.data.d); }

// Its term, in the four bytes of a float.
template <typename W> void fill_term(const block_q8_1 & x, void * term) {
    const float sum = GGML_CPU_FP16_TO_FP32(x.data.data.s);
    memcpy(term, &sum, sizeof(sum));
}
template <typename W> void fill_term(const block_q8_0 & x, void * term) {
    int32_t sum = 0;
    for (int8_t q : x.qs) {
        sum += q;
    }
    sum *= -W::shift;
    memcpy(term, &sum, sizeof(sum));
}

// Lays n blocks of a token into its place in a tile of `size` tokens.
template <typename W> void fill_token(int8_t * tile, int size, int place, const typename W::tokens * x, int n) {
    for (int i = 0; i < n; i++, tile += size * W::token_size) {
        float * factor = reinterpret_cast<float *>(tile + size * W::length) + place;
        memcpy(tile + place * W::length, x[i].qs, W::length);
        *factor = scale_of(x[i]);
        fill_term<W>(x[i], factor + size);
    }
}

} // namespace lc_products

#endif
