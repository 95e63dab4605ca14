// Attention of many queries over many keys, as products of tiles: what one thread does for one head.
//
// Keys are turned on their side and values unpacked once for many queries; a tile of queries then goes through them
// like rows through a matrix, and only through the keys that one of its queries may see. A micro-batch of several
// texts thus pays for the pairs within each text, not for those between texts.
#pragma once

#include "scores.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#ifdef LC_SIMD_EXP

namespace lc_attention {

constexpr int tile_rows  = lc_simd::many_registers ? (lc_simd::width == 16 ? 12 : 8) : 4;
constexpr int tile_width = 2 * lc_simd::width; // keys, or floats of a value, that go together
constexpr int tile_keys  = 512;                // keys that are packed at a time: a multiple of tile_width
constexpr int score_stride = tile_keys + lc_simd::width; // a row of scores may be filled up to a whole vector
constexpr int many_rows  = 128;                // queries that share what is packed

// What a thread needs; it is kept between calls.
struct tiles {
    std::vector<float> keys;   // [tile_keys / tile_width][width_k][tile_width]
    std::vector<float> values; // [tile_keys][width_v]
    std::vector<float> q;      // [many_rows][width_k], scaled
    std::vector<float> sum;    // [many_rows][width_v]
    alignas(64) float score[tile_rows][score_stride];
    float   max[many_rows], weight[many_rows];
    int64_t begin[many_rows], end[many_rows]; // the keys that a query may see lie in [begin, end)
    const void * mask = nullptr; // of the first query that these are of

    void reserve(int64_t width_k, int64_t width_v) {
        keys.resize(tile_keys * width_k);
        values.resize(tile_keys * width_v);
        q.resize(many_rows * width_k);
        sum.resize(many_rows * width_v);
    }
};

// Packs n keys; the last panel is filled up with zeros.
template <typename T> void pack_keys(float * out, const char * keys, size_t stride, int n, int width) {
    using lc_simd::vec;
    for (int first = 0; first < n; first += tile_width, out += tile_width * width) {
        for (int j = 0; j < tile_width; j += 4) {
            const auto part = [&](int k, int d) {
                const T * key = reinterpret_cast<const T *>(keys + (first + j + k) * stride);
                return first + j + k < n ? lc_simd::load(key + d) : lc_simd::zero();
            };
            for (int d = 0; d < width; d += lc_simd::width) {
                lc_simd::store_columns(out + d * tile_width + j, tile_width, part(0, d), part(1, d), part(2, d),
                                       part(3, d));
            }
        }
    }
}

template <typename T> void pack_values(float * out, const char * values, size_t stride, int n, int width) {
    for (int j = 0; j < n; j++, out += width) {
        const T * value = reinterpret_cast<const T *>(values + j * stride);
        for (int d = 0; d < width; d += lc_simd::width) {
            lc_simd::store(out + d, lc_simd::load(value + d));
        }
    }
}

// out[r][0..tile_width) (+)= the sum over i of a[r][i] * b[i][0..tile_width), for some rows r. The rows are counted
// out at compile time: GCC keeps an array in registers only where every index is a constant.
template <bool ADD, size_t... R>
inline void tile_product(std::index_sequence<R...>, const float * a, int a_stride, const float * b, int b_stride,
                         int n, float * out, int out_stride) {
    using namespace lc_simd;
    vec low[]  = { (ADD ? load(out + R * out_stride) : zero())... };
    vec high[] = { (ADD ? load(out + R * out_stride + width) : zero())... };
    for (int i = 0; i < n; i++) {
        const vec b_low = load(b + i * b_stride), b_high = load(b + i * b_stride + width);
        vec       x;
        ((x = all(a[R * a_stride + i]), low[R] = fma(x, b_low, low[R]), high[R] = fma(x, b_high, high[R])), ...);
    }
    (store(out + R * out_stride, low[R]), ...);
    (store(out + R * out_stride + width, high[R]), ...);
}

template <bool ADD, size_t... COUNTS>
inline void tile_product_of(std::index_sequence<COUNTS...>, int rows, const float * a, int a_stride, const float * b,
                            int b_stride, int n, float * out, int out_stride) {
    using fn                   = void (*)(const float *, int, const float *, int, int, float *, int);
    static constexpr fn some[] = { [](const float * a, int a_stride, const float * b, int b_stride, int n, float * out,
                                      int out_stride) {
        tile_product<ADD>(std::make_index_sequence<COUNTS + 1>(), a, a_stride, b, b_stride, n, out, out_stride);
    }... };
    some[rows - 1](a, a_stride, b, b_stride, n, out, out_stride);
}

template <bool ADD>
inline void tile_product(int rows, const float * a, int a_stride, const float * b, int b_stride, int n, float * out,
                         int out_stride) {
    tile_product_of<ADD>(std::make_index_sequence<tile_rows>(), rows, a, a_stride, b, b_stride, n, out, out_stride);
}

// One tile of queries against packed keys and values [first, first + n), which begin at `packed`.
template <typename MaskOf>
void attend_tile(tiles & t, int row, int rows, int first, int n, int width_k, int width_v, MaskOf mask_of) {
    const int panel = first / tile_width * tile_width; // whole panels of keys are computed
    for (int j = panel; j < first + n; j += tile_width) {
        tile_product<false>(rows, t.q.data() + row * width_k, width_k, t.keys.data() + j * width_k, tile_width,
                            width_k, t.score[0] + j, score_stride);
    }
    for (int r = 0; r < rows; r++) {
        float *     score = t.score[r] + first;
        const auto  mask  = mask_of(row + r);
        const float most  = std::max(t.max[row + r], add_mask_row(score, mask.first, mask.second, n));
        float *     sum   = t.sum.data() + (row + r) * width_v;
        if (most == -INFINITY) {
            std::fill(score, score + n, 0.0f);
            continue;
        }
        if (most > t.max[row + r]) {
            const float factor = expf(t.max[row + r] - most);
            t.weight[row + r] *= factor;
            t.max[row + r] = most;
            if (factor != 0.0f) {
                const lc_simd::vec by = lc_simd::all(factor);
                for (int d = 0; d < width_v; d += lc_simd::width) {
                    lc_simd::store(sum + d, lc_simd::mul(lc_simd::load(sum + d), by));
                }
            } else {
                std::fill(sum, sum + width_v, 0.0f);
            }
        }
        t.weight[row + r] += exp_row(score, most, n);
    }
    for (int d = 0; d < width_v; d += tile_width) {
        tile_product<true>(rows, t.score[0] + first, score_stride, t.values.data() + first * width_v + d, width_v, n,
                           t.sum.data() + row * width_v + d, width_v);
    }
}

} // namespace lc_attention

#endif
