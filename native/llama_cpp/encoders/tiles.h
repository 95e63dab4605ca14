// Products of packed weights with many rows, in the matrix registers (AMX) of x86-64: five times as many a step as in
// 16-bit integers, and as exact.
//
// A value is an integer of 16 bits, 256 * high + low, with both in bytes with a sign. Of the four products of two such
// values' bytes three are added up, high by high in one sum and what is 256 times as small in another. That of low by
// low, 65,536 times as small and as often positive as negative, is left out: all in all results err as little as those
// of words.h.
#pragma once

#include "layout.h"

// Not on Windows, where llama.cpp does not ask whether the CPU has them.
#if defined(LC_PACKED_PRODUCTS) && defined(__AVX512BW__) && defined(__AVX512VNNI__) && defined(__AMX_TILE__) && \
    defined(__AMX_INT8__) && defined(__x86_64__) && !defined(_WIN32)
#    define LC_PACKED_TILES 1

#    include "../amx/tiles.h"
#    include "ggml-cpu/amx/amx.h"

namespace lc_encoders {

struct tiles {
    static constexpr int     block   = 64;    // inputs that one step multiplies
    static constexpr int     rows    = 16;    // of a tile: of inputs, or outputs of weights
    static constexpr int     size    = rows * block;
    static constexpr int     depth   = 384;   // inputs whose weights stay in the nearest cache, beside a tile's rows
    static constexpr int64_t widest  = 65536; // more inputs might not fit into 32 bits: 2 * 128 * 127 * 65536 < 2^31
    static constexpr float   largest = 127 * 256 + 127; // of a scaled value

    // Whether the CPU and the system allow it.
    static bool allowed() {
        static const bool is = ggml_backend_amx_buffer_type() != nullptr; // asks the system each time
        return is;
    }

    // int8_t [panel][block][half of the panel][high, low][width of the block / 4][output of the half][4]
    static size_t values_of_weights(int64_t width, int64_t n_outputs) {
        return n_panels(n_outputs) * n_blocks(width, block) * 4 * size;
    }
    // [panel][output of the panel]
    static size_t scales_of_weights(int64_t, int64_t n_outputs) { return n_panels(n_outputs) * panel * sizeof(float); }
    static size_t rest_of_weights(int64_t, int64_t) { return 0; }
    // int8_t [tile of rows][block][high, low][row of the tile][block's inputs]
    static size_t values_of_inputs(int64_t width, int64_t n_rows) {
        return n_blocks(n_rows, rows) * n_blocks(width, block) * 2 * size;
    }
    // [row]
    static size_t scales_of_inputs(int64_t, int64_t n_rows) { return n_rows * sizeof(float); }

    // Takes in one output's row.
    static void set_weights(const weights & w, int64_t output, const float * row) {
        const float by = scale_of(row, w.width, w.scales[output]);
        w.scales[output] *= 256; // what is left of the 65,536 when sums are brought together
        int8_t high[block], low[block];
        char * out = (char *) w.values + output / panel * n_blocks(w.width, block) * 4 * size + output % panel / rows * 2 * size +
                     output % rows * 4;
        for (int64_t i = 0; i < w.width; i += block, out += 4 * size) {
            const int n = (int) std::min<int64_t>(block, w.width - i);
            split(row + i, n, by, high, low);
            for (int j = 0; j < n; j += 4) {
                memcpy(out + j / 4 * 64, high + j, 4);
                memcpy(out + j / 4 * 64 + size, low + j, 4);
            }
        }
    }

    static void set_inputs(const inputs & x, const weights &, int64_t row, const float * from) {
        const float by  = scale_of(from, x.width, x.scales[row]);
        int8_t *    out = (int8_t *) x.values + row / rows * n_blocks(x.width, block) * 2 * size + row % rows * block;
        for (int64_t i = 0; i < x.width; i += block, out += 2 * size) {
            split(from + i, (int) std::min<int64_t>(block, x.width - i), by, out, out + size);
        }
    }

    // The products of one group of rows with the panels [first, last). put(row, output, n, low, high) takes the n results of
    // a row that begin at an output: a panel of them, in two vectors.
    template <typename Put>
    static void multiply(const inputs & x, const weights & w, int64_t which, int64_t first, int64_t last, const Put & put) {
        constexpr int     n_tiles = group / rows;
        const int64_t     begin = which * group, n_steps = n_blocks(x.width, block);
        const int         n     = (int) std::min<int64_t>(group, x.n_rows - begin);
        const char *      in    = (const char *) x.values + begin / rows * n_steps * 2 * size;
        alignas(64) int32_t sums[n_tiles][4][rows][rows]; // of each half: high by high, and the rest
        configure();
        for (int64_t p = first; p < last; p++) {
            const char * values = (const char *) w.values + p * n_steps * 4 * size;
            for (int64_t b = 0; b < n_steps; b += depth / block) {
                const int steps = (int) std::min<int64_t>(depth / block, n_steps - b);
                for (int t = 0; t * rows < n; t++) {
                    add_products(b > 0, in + (t * n_steps + b) * 2 * size, values + b * 4 * size, steps, sums[t]);
                }
            }
            const floats s_low = load(w.scales + p * panel), s_high = load(w.scales + p * panel + lanes);
            const int    n_out = (int) std::min<int64_t>(panel, w.n_outputs - p * panel);
            for (int r = 0; r < n; r++) {
                const auto & its   = sums[r / rows];
                const auto   whole = [&](int half) {
                    return fma(to_floats(load_ints(its[2 * half][r % rows])), all(256.0f),
                               to_floats(load_ints(its[2 * half + 1][r % rows])));
                };
                const floats scale = all(x.scales[begin + r]);
                put(begin + r, p * panel, n_out, mul(whole(0), mul(s_low, scale)), mul(whole(1), mul(s_high, scale)));
            }
        }
    }

  private:
    static_assert(panel == 2 * rows && group % rows == 0 && depth % block == 0, "panels, groups and parts are made of tiles");

    // Eight tiles of 16 rows of 64 bytes. llama.cpp's own products see that these are not theirs (amx/tiles.h).
    static void configure() {
        alignas(64) uint8_t config[64] = { 1 }; // the palette
        for (int i = 0; i < 8; i++) {
            const uint16_t bytes = block;
            memcpy(config + 16 + 2 * i, &bytes, sizeof(bytes));
            config[48 + i] = rows;
        }
        lc_tile_load(config);
    }

    // What makes integers of a row; see words.h.
    static float scale_of(const float * x, int64_t n, float & back) {
        const extent of(x, n);
        if (of.has_no_number() || of.is_nothing()) {
            back = of.has_no_number() ? NAN : 0.0f;
            return 0.0f;
        }
        back = of.greatest / largest;
        return largest / of.greatest;
    }

    // Values as bytes; what a block lacks is filled up with zeros.
    static void split(const float * x, int n, float by, int8_t * high, int8_t * low) {
        for (int i = 0; i < n; i += 16) {
            const __m512i value = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(by)));
            const __m512i upper = _mm512_srai_epi32(_mm512_add_epi32(value, _mm512_set1_epi32(128)), 8);
            _mm_storeu_si128((__m128i *) (high + i), _mm512_cvtepi32_epi8(upper));
            _mm_storeu_si128((__m128i *) (low + i), _mm512_cvtepi32_epi8(value));
        }
        memset(high + n, 0, block - n);
        memset(low + n, 0, block - n);
    }

    // sums are, or grow by, the products of a tile of rows with a panel over some blocks.
    static void add_products(bool grow, const char * x, const char * w, int n, int32_t (*sums)[rows][rows]) {
        if (grow) {
            _tile_loadd(0, sums[0], 64);
            _tile_loadd(1, sums[1], 64);
            _tile_loadd(2, sums[2], 64);
            _tile_loadd(3, sums[3], 64);
        } else {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
        }
        for (; n > 0; n--, x += 2 * size, w += 4 * size) {
            _tile_loadd(4, x, 64);
            _tile_loadd(6, w, 64);
            _tile_dpbssd(0, 4, 6);
            _tile_loadd(5, x + size, 64);
            _tile_dpbssd(1, 5, 6);
            _tile_loadd(7, w + 2 * size, 64);
            _tile_dpbssd(2, 4, 7);
            _tile_dpbssd(3, 5, 7);
            _tile_loadd(6, w + size, 64);
            _tile_dpbssd(1, 4, 6);
            _tile_loadd(7, w + 3 * size, 64);
            _tile_dpbssd(3, 4, 7);
        }
        _tile_stored(0, sums[0], 64);
        _tile_stored(1, sums[1], 64);
        _tile_stored(2, sums[2], 64);
        _tile_stored(3, sums[3], 64);
    }
};

} // namespace lc_encoders

#endif
