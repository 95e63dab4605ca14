// As kernel.h and direct.h, for the K types: a strip of weights, or rows where they lie, times a tile of tokens.
#pragma once

#include "direct.h"
#include "weights_large.h"

#ifdef LC_PRODUCTS

namespace lc_products {

// sum + what a block adds to it, whichever way its products were added up.
template <typename W>
inline fvec with_large_block(fvec sum, ivec products, ivec mins, const factors<W> & f, float factor) {
    if constexpr (W::has_min) {
        sum = fma(to_float(products), mul(f.d, all(factor)), sum);
        return fma(to_float(mins), mul(f.dmin, all(factor)), sum);
    } else {
        const ivec acc = sub32(products, mul32(mins, all(int32_t(W::shift))));
        return fma(to_float(acc), mul(f.d, all(factor)), sum);
    }
}

// The sums of a token's bytes, and its scale, in a block of a tile of T.
template <typename W, int T> inline const int8_t * sums_of(const int8_t * tile, int t) {
    return tile + T * W::length + t * n_scales * (int) sizeof(int16_t);
}
template <typename W, int T> inline float factor_of(const int8_t * tile, int t) {
    float x;
    memcpy(&x, sums_of<W, T>(tile, T) + t * sizeof(x), sizeof(x));
    return x;
}

// As multiply(), of a strip.
template <typename W, int T>
void multiply_large(const uint8_t * strip, const int8_t * tile, int n_blocks, float * const * out, int n_rows,
                    bool goes_on) {
    fvec sum[T];
    for (int t = 0; t < T; t++) {
        sum[t] = goes_on ? load_rows(out[t], n_rows) : zero();
    }
    for (int b = 0; b < n_blocks; b++, strip += W::strip_size, tile += T * W::token_size) {
        ivec products[T];
#    pragma GCC unroll 16
        for (int t = 0; t < T; t++) {
            products[t] = all(int32_t(0));
        }
        for (int i = 0; i < W::length / W::part; i++) {
            const uint8_t * part = strip + i * W::part_size;
            ivec            w[W::part / 4];
            for (int j = 0; j < W::part / 4; j++) {
                w[j] = load(part + j * 4 * lanes);
            }
            const ivec scale = load(part + lanes * W::part);
#    pragma GCC unroll 16
            for (int t = 0; t < T; t++) {
                const ivec x = dot<W>(all(int32_t(0)), w, tile + t * W::length + i * W::part);
                products[t]  = add32(products[t], mul32(x, scale));
            }
        }
        ivec mins[n_scales / 2];
        for (int j = 0; j < n_scales / 2; j++) {
            mins[j] = load(strip + W::mins_at + j * 4 * lanes);
        }
        const factors<W> f(reinterpret_cast<const float *>(strip + W::factors_at));
#    pragma GCC unroll 16
        for (int t = 0; t < T; t++) {
            ivec acc = all(int32_t(0));
            for (int j = 0; j < n_scales / 2; j++) {
                acc = add_pairs(acc, mins[j], all(word(sums_of<W, T>(tile, t) + 4 * j)));
            }
            sum[t] = with_large_block(sum[t], products[t], acc, f, factor_of<W, T>(tile, t));
        }
    }
    for (int t = 0; t < T; t++) {
        store_rows(out[t], sum[t], n_rows);
    }
}

// Of 16 scales of each of the vector's rows: those of group G of 32 weights, each as often as it has weights' pairs.
template <int G> inline ivec scales_of_group(ivec scales) {
#    ifdef __AVX512BW__
    constexpr int64_t each = 0x0001000100010001, i = 2 * G * each, j = i + each, other = 16 * each;
    const __m512i     from = _mm512_setr_epi64(i, i, j, j, i + other, i + other, j + other, j + other);
    return _mm512_permutexvar_epi16(from, scales);
#    else
    constexpr int64_t each = 0x0202020202020202, i = 2 * G % 8 * each + 0x0100010001000100, j = i + each;
    const __m256i     half = _mm256_permute2x128_si256(scales, scales, G < 4 ? 0x00 : 0x11);
    return _mm256_shuffle_epi8(half, _mm256_setr_epi64x(i, i, j, j));
#    endif
}

// As multiply_direct(), where the weights lie.
template <typename W, int T>
void multiply_large_direct(const strip_rows<W> & rows, const int8_t * tile, int n_blocks, float * const * out,
                           int n_rows, bool goes_on) {
    fvec sum[T];
    for (int t = 0; t < T; t++) {
        sum[t] = goes_on ? load_rows(out[t], n_rows) : zero();
    }
    for (int b = 0; b < n_blocks; b++, tile += T * W::token_size) {
        ivec products[T][8], mins[T][8];
        rows.fetch_next(b, 1);
        for (int i = 0; i < 8; i++) {
            const ivec scales = vector_of(rows, i, [b](const auto *... row) {
                return joined(_mm256_cvtepi8_epi16(W::scales(row[b]))...);
            });
            const ivec min    = vector_of(rows, i, [b](const auto *... row) { return joined(mins_of<W>(row[b])...); });
            for (int t = 0; t < T; t++) {
                products[t][i] = all(int32_t(0));
                mins[t][i]     = add_pairs(products[t][i], min, repeat(load32(sums_of<W, T>(tile, t))));
            }
            eight_times([&](auto g) {
                const ivec scale  = scales_of_group<g>(scales);
                const ivec values = vector_of(rows, i, [b, g](const auto *... row) {
                    return W::template values<decltype(g)::value>(row[b]...);
                });
                for (int t = 0; t < T; t++) {
                    const ivec x   = repeat(load32(tile + t * W::length + g * 32));
                    products[t][i] = add_pairs(products[t][i], pairs16(values, x), scale);
                }
            });
        }
        const factors<W> f(rows, b);
        for (int t = 0; t < T; t++) {
            sum[t] = with_large_block(sum[t], add_across(products[t]), add_across(mins[t]), f, factor_of<W, T>(tile, t));
        }
    }
    for (int t = 0; t < T; t++) {
        store_rows(out[t], sum[t], n_rows);
    }
}

} // namespace lc_products

#endif
