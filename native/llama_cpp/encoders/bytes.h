// Products of packed weights with many rows, in bytes: up to twice as fast as in 16-bit integers, and less exact.
//
// Each block of a row is scaled by its largest value to +-127. Where it is known that some inputs are larger than others
// in every row, these are made smaller before and their weights larger (arXiv:2211.10438), so that the rest keeps its
// digits. Inputs are kept without a sign, 128 more than they are, as the instruction wants them; what that adds to a sum
// depends on the weights alone, and the sum begins with its negative.
#pragma once

#include "layout.h"

#ifdef LC_PACKED_BYTES

namespace lc_encoders {

struct bytes {
    static constexpr int   block   = 32;  // inputs of a row that share a scale
    static constexpr float largest = 127; // of a scaled value

    // int8_t [panel][width / 4][output of the panel][4]
    static size_t values_of_weights(int64_t width, int64_t n_outputs) { return n_panels(n_outputs) * panel * width; }
    // [panel][block][output of the panel]
    static size_t scales_of_weights(int64_t width, int64_t n_outputs) {
        return n_panels(n_outputs) * panel * n_blocks(width, block) * sizeof(float);
    }
    // the offsets as the scales; [width] factors
    static size_t rest_of_weights(int64_t width, int64_t n_outputs) {
        return scales_of_weights(width, n_outputs) + width * sizeof(float);
    }
    // uint8_t [group of rows][block][row of the group][block's inputs]
    static size_t values_of_inputs(int64_t width, int64_t n_rows) {
        return n_groups(n_rows) * group * n_blocks(width, block) * block;
    }
    // [group of rows][block][row of the group]
    static size_t scales_of_inputs(int64_t width, int64_t n_rows) {
        return n_groups(n_rows) * group * n_blocks(width, block) * sizeof(float);
    }

    // Takes in one output's row, whose values were divided by the factors.
    static void set_weights(const weights & w, int64_t output, const float * row) {
        const int64_t p = output / panel, lane = output % panel;
        uint8_t       scaled[block];
        for (int64_t b = 0; b < n_blocks(w.width, block); b++) {
            const int     n  = (int) std::min<int64_t>(block, w.width - b * block);
            const int64_t at = (p * n_blocks(w.width, block) + b) * panel + lane;
            quantise(row + b * block, n, scaled, w.scales[at]);
            int8_t * out  = (int8_t *) w.values + p * panel * w.width + b * block * panel + 4 * lane;
            int32_t  sum = 0;
            for (int i = 0; i < n; i++) {
                const int value              = scaled[i] - 128;
                out[i / 4 * 4 * panel + i % 4] = (int8_t) value;
                sum += value;
            }
            w.offsets[at] = -128 * sum;
        }
    }

    static void set_inputs(const inputs & x, const weights & w, int64_t row, const float * from) {
        alignas(64) float even[block];
        for (int64_t b = 0; b < n_blocks(x.width, block); b++, from += block) {
            const int     n  = (int) std::min<int64_t>(block, x.width - b * block);
            const int64_t at = place(block, x.width, row, b);
            for (int i = 0; w.factors && i < n; i += lanes) {
                store(even + i, mul(load(from + i), load(w.factors + b * block + i)));
            }
            quantise(w.factors ? even : from, n, (uint8_t *) x.values + at * block, x.scales[at]);
        }
    }

    // The products of one group of rows with the panels [first, last). put(row, output, n, low, high) takes the n results of
    // a row that begin at an output: a panel of them, in two vectors.
    template <typename Put>
    static void multiply(const inputs & x, const weights & w, int64_t which, int64_t first, int64_t last, const Put & put) {
        const int64_t begin = which * group;
        const int     rows  = (int) std::min<int64_t>(group, x.n_rows - begin);
        alignas(64) float sums[group][panel];
        for (int64_t p = first; p < last; p++) {
            for (int64_t b = 0; b < n_blocks(x.width, block); b++) {
                const int64_t scales = (p * n_blocks(w.width, block) + b) * panel;
                const tile_of its    = { (const int8_t *) w.values + (p * w.width + b * block) * panel, w.scales + scales,
                                         w.offsets + scales, (int) std::min<int64_t>(block, x.width - b * block) };
                for (int r = 0; r < rows; r += tile) {
                    const int64_t at = place(block, x.width, begin + r, b);
                    add_tile_of(std::make_index_sequence<tile>(), b > 0, std::min(tile, rows - r))(
                        its, (const uint8_t *) x.values + at * block, x.scales + at, sums + r);
                }
            }
            const int n = (int) std::min<int64_t>(panel, w.n_outputs - p * panel);
            for (int r = 0; r < rows; r++) {
                put(begin + r, p * panel, n, load(sums[r]), load(sums[r] + lanes));
            }
        }
    }

  private:
    // One block of a panel's weights.
    struct tile_of {
        const int8_t *  values;
        const float *   scales;
        const int32_t * offsets;
        int             n; // inputs
    };

    // A block of a row as bytes; what brings them back is put into `back`.
    static void quantise(const float * x, int n, uint8_t * out, float & back) {
        const extent of(x, n);
        if (of.has_no_number() || of.is_nothing()) {
            memset(out, 128, n);
            back = of.has_no_number() ? NAN : 0.0f;
            return;
        }
        scale_to_bytes(x, n, largest / of.greatest, out);
        back = of.greatest / largest;
    }

    // sums[r][0..panel) are, or grow by, the products of some rows with a panel, over one block. As in words.h, the rows are
    // counted out at compile time.
    template <bool ADD, size_t... R>
    static void add_rows(std::index_sequence<R...>, const tile_of & w, const uint8_t * x, const float * x_scales,
                         float (*sums)[panel]) {
        ints low[]  = { (void(R), load_ints(w.offsets))... };
        ints high[] = { (void(R), load_ints(w.offsets + lanes))... };
        for (int i = 0; i < w.n; i += 4) {
            const ints w_low = load_ints(w.values + i * panel), w_high = load_ints(w.values + i * panel + 4 * lanes);
            ints       some;
            ((some = four_bytes(x + R * block + i), low[R] = add_byte_products(low[R], some, w_low),
              high[R] = add_byte_products(high[R], some, w_high)),
             ...);
        }
        const floats s_low = load(w.scales), s_high = load(w.scales + lanes);
        const auto   before = [](const float * sum) { return ADD ? load(sum) : zero_floats(); };
        (store(sums[R], fma(to_floats(low[R]), mul(s_low, all(x_scales[R])), before(sums[R]))), ...);
        (store(sums[R] + lanes, fma(to_floats(high[R]), mul(s_high, all(x_scales[R])), before(sums[R] + lanes))), ...);
    }

    template <bool ADD, int R>
    static void add_tile(const tile_of & w, const uint8_t * x, const float * x_scales, float (*sums)[panel]) {
        add_rows<ADD>(std::make_index_sequence<R>(), w, x, x_scales, sums);
    }

    using add_tile_fn = void (*)(const tile_of &, const uint8_t *, const float *, float (*)[panel]);

    template <size_t... COUNTS> static add_tile_fn add_tile_of(std::index_sequence<COUNTS...>, bool add, int rows) {
        static constexpr add_tile_fn some[][tile] = { { add_tile<false, COUNTS + 1>... }, { add_tile<true, COUNTS + 1>... } };
        return some[add][rows - 1];
    }
};

} // namespace lc_encoders

#endif
