// Products of packed weights with many rows, in 16-bit integers.
//
// Each row of inputs and of weights is scaled so that its largest value fits into 16 bits and its norm is at most
// `longest`. Products of pairs are summed in 32 bits: by the inequality of Cauchy and Schwarz the sum of a row's
// products is at most that norm's square, which fits. (What is in between may wrap around; the sum is the same.) The
// error of a result is a few parts in 10,000 of the product of both norms, less than a tenth of bfloat16's, and takes two
// multiplications a lane and step, so half the steps of single precision.
#pragma once

#include "layout.h"

#ifdef LC_PACKED_PRODUCTS

namespace lc_encoders {

struct words {
    static constexpr int   block   = 128;   // inputs of a row that lie side by side
    static constexpr float largest = 32767; // of a scaled value
    static constexpr float longest = 46000; // of a scaled row: 46340^2 < 2^31, less what rounding adds to 400,000 inputs

    // int16_t [panel][width / 2][output of the panel][2]
    static size_t values_of_weights(int64_t width, int64_t n_outputs) {
        return n_panels(n_outputs) * panel * width * sizeof(int16_t);
    }
    // [panel][output of the panel]
    static size_t scales_of_weights(int64_t, int64_t n_outputs) { return n_panels(n_outputs) * panel * sizeof(float); }
    static size_t rest_of_weights(int64_t, int64_t) { return 0; }
    // int16_t [group of rows][block][row of the group][block's inputs]
    static size_t values_of_inputs(int64_t width, int64_t n_rows) {
        return n_groups(n_rows) * group * n_blocks(width, block) * block * sizeof(int16_t);
    }
    // [row]
    static size_t scales_of_inputs(int64_t, int64_t n_rows) { return n_rows * sizeof(float); }

    // Takes in one output's row.
    static void set_weights(const weights & w, int64_t output, const float * row) {
        const float by = scale_of(row, w.width, w.scales[output]);
        int16_t     scaled[block];
        int16_t *   out = (int16_t *) w.values + output / panel * panel * w.width + 2 * (output % panel);
        for (int64_t b = 0; b < n_blocks(w.width, block); b++, out += block * panel) {
            const int n = (int) std::min<int64_t>(block, w.width - b * block);
            scale_to_ints(row + b * block, n, by, scaled);
            for (int i = 0; i < n; i += 2) {
                out[i * panel]     = scaled[i];
                out[i * panel + 1] = scaled[i + 1];
            }
        }
    }

    static void set_inputs(const inputs & x, const weights &, int64_t row, const float * from) {
        const float by = scale_of(from, x.width, x.scales[row]);
        for (int64_t b = 0; b < n_blocks(x.width, block); b++) {
            const int n = (int) std::min<int64_t>(block, x.width - b * block);
            scale_to_ints(from + b * block, n, by, (int16_t *) x.values + place(block, x.width, row, b) * block);
        }
    }

    // What makes integers of a row. Its inverse, which brings them back, is put into `back`; it is no number for a row that
    // has a value which is none. n: a multiple of 16.
    static inline float scale_of(const float * x, int64_t n, float & back) {
        const extent of(x, n);
        if (of.has_no_number() || of.is_nothing()) {
            back = of.has_no_number() ? NAN : 0.0f;
            return 0.0f;
        }
        const float greatest = of.greatest, norm = std::sqrt(of.squares);
        const bool  exact = greatest > 1e-15f && greatest < 1e15f; // the squares are neither lost nor infinite
        const float by    = std::min(largest / greatest, exact ? longest / norm : longest / std::sqrt((float) n) / greatest);
        back              = 1.0f / by;
        return by;
    }

    // sums[r][0..panel) are, or grow by, the products of some rows with a panel, over n inputs. The rows are counted out at
    // compile time: GCC keeps an array in registers only where every index is a constant.
    template <bool ADD, size_t... R>
    static inline void add_rows(std::index_sequence<R...>, const int16_t * x, const int16_t * w, int64_t n,
                         int32_t (*sums)[panel]) {
        ints low[]  = { (ADD ? load_ints(sums[R]) : zero())... };
        ints high[] = { (ADD ? load_ints(sums[R] + lanes) : zero())... };
        for (; n > 0; n -= block, x += group * block) {
            for (int i = 0; i < std::min<int64_t>(n, block); i += 2, w += 2 * panel) {
                const ints w_low = load_ints(w), w_high = load_ints(w + 2 * lanes);
                ints       both;
                ((both = four_bytes(x + R * block + i), low[R] = add_products(low[R], w_low, both),
                  high[R] = add_products(high[R], w_high, both)),
                 ...);
            }
        }
        (store_ints(sums[R], low[R]), ...);
        (store_ints(sums[R] + lanes, high[R]), ...);
    }

    template <bool ADD, int R> static void add_tile(const int16_t * x, const int16_t * w, int64_t n, int32_t (*sums)[panel]) {
        add_rows<ADD>(std::make_index_sequence<R>(), x, w, n, sums);
    }

    using add_tile_fn = void (*)(const int16_t *, const int16_t *, int64_t, int32_t (*)[panel]);

    template <size_t... COUNTS> static add_tile_fn add_tile_of(std::index_sequence<COUNTS...>, bool add, int rows) {
        static constexpr add_tile_fn some[][tile] = { { add_tile<false, COUNTS + 1>... }, { add_tile<true, COUNTS + 1>... } };
        return some[add][rows - 1];
    }

    // The products of one group of rows with the panels [first, last). put(row, output, n, low, high) takes the n results of
    // a row that begin at an output: a panel of them, in two vectors.
    template <typename Put>
    static void multiply(const inputs & x, const weights & w, int64_t which, int64_t first, int64_t last, const Put & put) {
        constexpr int64_t part  = 4 * block; // so much of a panel stays in the nearest cache, beside a tile's inputs
        const int64_t     begin = which * group;
        const int         rows  = (int) std::min<int64_t>(group, x.n_rows - begin);
        alignas(64) int32_t sums[group][panel];
        for (int64_t p = first; p < last; p++) {
            for (int64_t i = 0; i < x.width; i += part) {
                const int16_t * values = (const int16_t *) w.values + (p * w.width + i) * panel;
                for (int r = 0; r < rows; r += tile) {
                    const int64_t at = place(block, x.width, begin + r, i / block) * block;
                    add_tile_of(std::make_index_sequence<tile>(), i > 0, std::min(tile, rows - r))(
                        (const int16_t *) x.values + at, values, std::min(part, x.width - i), sums + r);
                }
            }
            const float * scales = w.scales + p * panel;
            const floats  s_low = load(scales), s_high = load(scales + lanes);
            const int     n = (int) std::min<int64_t>(panel, w.n_outputs - p * panel);
            for (int r = 0; r < rows; r++) {
                const floats scale = all(x.scales[begin + r]);
                put(begin + r, p * panel, n, mul(to_floats(load_ints(sums[r])), mul(s_low, scale)),
                    mul(to_floats(load_ints(sums[r] + lanes)), mul(s_high, scale)));
            }
        }
    }
};

} // namespace lc_encoders

#endif
