// Attention of a few queries over a block of keys: what one thread does for queries that share a key-value head.
//
// llama.cpp's kernel for few queries goes query by query and key by key, converts each key and value from half
// precision for each of them, and adds up in half precision. Here up to four queries go together through
// blocks of keys: each key and value is read and converted once, the sums stay in registers, in single precision,
// and the maximum and the exponentials are those of a whole block (online soft-max, arXiv:2205.14135).
#pragma once

#include "scores.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef LC_SIMD

namespace lc_attention {

using lc_simd::vec;

constexpr int max_rows  = 4;   // queries that go together
constexpr int block     = 64;  // keys that go together
constexpr int max_width = 576; // floats of a key or a value: the largest head that llama.cpp knows

// The rows of a cache lie apart by all heads, which the processor's own prefetcher does not follow.
constexpr int rows_ahead = 16;

inline void fetch(const char * row, size_t size) {
    for (size_t i = 0; i < size; i += 64) {
        __builtin_prefetch(row + i);
    }
}

// What was added up for up to four queries.
struct sums {
    alignas(64) float sum[max_rows][max_width]; // sum of the values, each times exp(score - max)
    float max[max_rows];
    float weight[max_rows]; // sum of exp(score - max)

    void clear(int n, int64_t width) {
        for (int r = 0; r < n; r++) {
            memset(sum[r], 0, width * sizeof(float));
            max[r]    = -INFINITY;
            weight[r] = 0.0f;
        }
    }
};

// The running state of up to four queries; the sums are those of a part of the keys.
struct rows : sums {
    alignas(64) float q[max_rows][max_width]; // the queries, scaled
    alignas(64) float score[max_rows][block];
    sums before; // of the parts before
};

template <int R> constexpr int keys_at_once() {
    return lc_simd::many_registers ? 4 : R == 1 ? 8 : R == 4 ? 2 : 4;
}

// score[r][first + j] = the sum over acc[r][j]
template <int R, int KEYS> inline void store_scores(rows & s, const vec (&acc)[R][KEYS], int first) {
    for (int i = 0; i < R * KEYS; i += 4) {
        const auto part = [&](int k) {
            return i + k < R * KEYS ? acc[(i + k) / KEYS][(i + k) % KEYS] : lc_simd::zero();
        };
        if constexpr (KEYS % 4 == 0) {
            lc_simd::store_sums(s.score[i / KEYS] + first + i % KEYS, part(0), part(1), part(2), part(3));
        } else {
            float four[4];
            lc_simd::store_sums(four, part(0), part(1), part(2), part(3));
            for (int k = 0; k < 4 && i + k < R * KEYS; k++) {
                s.score[(i + k) / KEYS][first + (i + k) % KEYS] = four[k];
            }
        }
    }
}

// score[r][j] = q[r] . key[j] for j in [first, first + KEYS)
template <int R, int KEYS, typename T>
inline void dot(rows & s, const char * keys, size_t stride, int first, int width) {
    vec acc[R][KEYS];
    for (int r = 0; r < R; r++) {
        for (int j = 0; j < KEYS; j++) {
            acc[r][j] = lc_simd::zero();
        }
    }
    const char * key = keys + first * stride;
    for (int j = 0; j < KEYS; j++) {
        fetch(key + (rows_ahead + j) * stride, width * sizeof(T));
    }
    for (int d = 0; d < width; d += lc_simd::width) {
        vec k[KEYS];
        for (int j = 0; j < KEYS; j++) {
            k[j] = lc_simd::load(reinterpret_cast<const T *>(key + j * stride) + d);
        }
        for (int r = 0; r < R; r++) {
            const vec q = lc_simd::load(s.q[r] + d);
            for (int j = 0; j < KEYS; j++) {
                acc[r][j] = lc_simd::fma(q, k[j], acc[r][j]);
            }
        }
    }
    store_scores<R, KEYS>(s, acc, first);
}

template <int R, typename T>
inline void dots(rows & s, const char * keys, size_t stride, int n, int width) {
    constexpr int step = keys_at_once<R>();
    int           j    = 0;
    for (; j + step <= n; j += step) {
        dot<R, step, T>(s, keys, stride, j, width);
    }
    for (; j < n; j++) {
        dot<R, 1, T>(s, keys, stride, j, width);
    }
}

// sum[r][d...] += score[r][j] * value[j][d...] over the block, for COLUMNS vectors from d on
template <int R, int COLUMNS, typename T>
inline void add_columns(rows & s, const char * values, size_t stride, int n, int d) {
    vec acc[R][COLUMNS];
    for (int r = 0; r < R; r++) {
        for (int c = 0; c < COLUMNS; c++) {
            acc[r][c] = lc_simd::load(s.sum[r] + d + c * lc_simd::width);
        }
    }
    for (int j = 0; j < n; j++) {
        const T * value = reinterpret_cast<const T *>(values + j * stride) + d;
        fetch(reinterpret_cast<const char *>(value) + rows_ahead * stride, COLUMNS * lc_simd::width * sizeof(T));
        vec v[COLUMNS];
        for (int c = 0; c < COLUMNS; c++) {
            v[c] = lc_simd::load(value + c * lc_simd::width);
        }
        for (int r = 0; r < R; r++) {
            const vec p = lc_simd::all(s.score[r][j]);
            for (int c = 0; c < COLUMNS; c++) {
                acc[r][c] = lc_simd::fma(p, v[c], acc[r][c]);
            }
        }
    }
    for (int r = 0; r < R; r++) {
        for (int c = 0; c < COLUMNS; c++) {
            lc_simd::store(s.sum[r] + d + c * lc_simd::width, acc[r][c]);
        }
    }
}

template <int R, typename T>
inline void add_values(rows & s, const char * values, size_t stride, int n, int width) {
    constexpr int columns = lc_simd::many_registers ? 4 : R == 1 ? 8 : R == 4 ? 2 : 4;
    constexpr int step    = columns * lc_simd::width;
    int           d       = 0;
    for (; d + step <= width; d += step) {
        add_columns<R, columns, T>(s, values, stride, n, d);
    }
    for (; d < width; d += lc_simd::width) {
        add_columns<R, 1, T>(s, values, stride, n, d);
    }
}

inline void scale_row(float * row, int width, float by) {
    const vec factor = lc_simd::all(by);
    for (int d = 0; d < width; d += lc_simd::width) {
        lc_simd::store(row + d, lc_simd::mul(lc_simd::load(row + d), factor));
    }
}

// Adds what was added up over one more part of the keys.
inline void add_part(float * sum, float & max, float & weight, const float * its_sum, float its_max, float its_weight,
                     int width) {
    if (its_max == -INFINITY) {
        return;
    }
    const float top = std::max(max, its_max);
    const float old = expf(max - top), its = expf(its_max - top);
    const vec   old_factor = lc_simd::all(old), its_factor = lc_simd::all(its);
    for (int d = 0; d < width; d += lc_simd::width) {
        const vec kept = lc_simd::mul(lc_simd::load(sum + d), old_factor);
        lc_simd::store(sum + d, lc_simd::fma(lc_simd::load(its_sum + d), its_factor, kept));
    }
    weight = std::fma(its_weight, its, weight * old);
    max    = top;
}

} // namespace lc_attention

#endif
