// Products of packed weights with many rows, in 16-bit integers.
//
// A row of inputs and a row of weights are cut into blocks; each block is scaled by its largest value to +-4095.
// Products of pairs are summed in 32 bits, which a block of 128 cannot overflow (128 * 4095^2 < 2^31), then scaled
// back and summed in single precision. That is finer than bfloat16 and takes two multiplications a lane and
// step, so half the steps of single precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX2__) && defined(__FMA__)
#    include <immintrin.h>
#    define LC_PACKED_PRODUCTS 1

namespace lc_encoders {

constexpr int   block   = 128;  // inputs that share a scale
constexpr float largest = 4095; // of a scaled value

#    if defined(__AVX512F__) && defined(__AVX512BW__)

constexpr int lanes = 16;
constexpr int tile  = 12; // rows that go together: their sums fill the registers
using floats        = __m512;
using ints          = __m512i;

inline floats zero_floats() { return _mm512_setzero_ps(); }
inline ints   zero() { return _mm512_setzero_si512(); }
inline floats all(float x) { return _mm512_set1_ps(x); }
inline floats load(const float * p) { return _mm512_loadu_ps(p); }
inline void   store(float * p, floats x) { _mm512_storeu_ps(p, x); }
inline floats mul(floats a, floats b) { return _mm512_mul_ps(a, b); }
inline floats fma(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
inline floats to_floats(ints x) { return _mm512_cvtepi32_ps(x); }
inline ints   load_pairs(const int16_t * p) { return _mm512_loadu_si512(p); }
inline ints   all_pairs(const int16_t * p) {
    int32_t pair;
    memcpy(&pair, p, sizeof(pair));
    return _mm512_set1_epi32(pair);
}
inline ints add_products(ints sum, ints a, ints b) {
#        if defined(__AVX512VNNI__) && defined(__GNUC__)
    // not the intrinsic: with it GCC 12 copies every sum to the stack in every step
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#        elif defined(__AVX512VNNI__)
    return _mm512_dpwssd_epi32(sum, a, b);
#        else
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
#        endif
}
inline float largest_of(const float * x, int n) { // n: a multiple of 16
    __m512 most = _mm512_setzero_ps();
    for (int i = 0; i < n; i += 16) {
        most = _mm512_max_ps(most, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
    }
    return _mm512_reduce_max_ps(most);
}
inline void scale_to_ints(const float * x, int n, float by, int16_t * out) {
    for (int i = 0; i < n; i += 16) {
        const __m512i wide = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(by)));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + i), _mm512_cvtepi32_epi16(wide));
    }
}

#    else

constexpr int lanes = 8;
#        if defined(__AVXVNNI__)
constexpr int tile = 6;
#        else
constexpr int tile = 4;
#        endif
using floats        = __m256;
using ints          = __m256i;

inline floats zero_floats() { return _mm256_setzero_ps(); }
inline ints   zero() { return _mm256_setzero_si256(); }
inline floats all(float x) { return _mm256_set1_ps(x); }
inline floats load(const float * p) { return _mm256_loadu_ps(p); }
inline void   store(float * p, floats x) { _mm256_storeu_ps(p, x); }
inline floats mul(floats a, floats b) { return _mm256_mul_ps(a, b); }
inline floats fma(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
inline floats to_floats(ints x) { return _mm256_cvtepi32_ps(x); }
inline ints   load_pairs(const int16_t * p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
inline ints   all_pairs(const int16_t * p) {
    int32_t pair;
    memcpy(&pair, p, sizeof(pair));
    return _mm256_set1_epi32(pair);
}
inline ints add_products(ints sum, ints a, ints b) {
#        if defined(__AVXVNNI__) && defined(__GNUC__)
    asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
#        elif defined(__AVXVNNI__)
    return _mm256_dpwssd_avx_epi32(sum, a, b);
#        else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#        endif
}
inline float largest_of(const float * x, int n) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256       most = _mm256_setzero_ps();
    for (int i = 0; i < n; i += 8) {
        most = _mm256_max_ps(most, _mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)));
    }
    alignas(32) float each[8];
    _mm256_store_ps(each, most);
    return *std::max_element(each, each + 8);
}
inline void scale_to_ints(const float * x, int n, float by, int16_t * out) {
    const __m256 factor = _mm256_set1_ps(by);
    for (int i = 0; i < n; i += 16) {
        const __m256i low  = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
        const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8), factor));
        const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + i), both);
    }
}

#    endif

constexpr int panel = 2 * lanes; // outputs that go together

inline int64_t n_blocks(int64_t width) { return (width + block - 1) / block; }
inline int64_t n_panels(int64_t n_outputs) { return (n_outputs + panel - 1) / panel; }

// A block of one row as integers; what brings them back is returned. n: a multiple of 16.
inline float quantise(const float * x, int n, int16_t * out) {
    const float most = largest_of(x, n);
    if (!(most > 0.0f)) { // nothing, or no number
        memset(out, 0, n * sizeof(int16_t));
        return most;
    }
    scale_to_ints(x, n, largest / most, out);
    return most / largest;
}

// Weights of one matrix: for each panel and block the values, pair by pair for all outputs, and their scales.
struct weights {
    int64_t   width, n_outputs;
    int16_t * values; // [panel][width / 2][output of the panel][2]
    float *   scales; // [panel][block][output of the panel]

    static size_t values_size(int64_t width, int64_t n_outputs) {
        return n_panels(n_outputs) * panel * width * sizeof(int16_t);
    }
    static size_t scales_size(int64_t width, int64_t n_outputs) {
        return n_panels(n_outputs) * panel * n_blocks(width) * sizeof(float);
    }

    // Takes in one output's row.
    void set_row(int64_t output, const float * row) const {
        const int64_t p = output / panel, lane = output % panel;
        int16_t       scaled[block];
        for (int64_t b = 0; b < n_blocks(width); b++) {
            const int n = (int) std::min<int64_t>(block, width - b * block);
            scales[(p * n_blocks(width) + b) * panel + lane] = quantise(row + b * block, n, scaled);
            int16_t * out = values + p * panel * width + b * block * panel + 2 * lane;
            for (int i = 0; i < n; i += 2) {
                out[i * panel]     = scaled[i];
                out[i * panel + 1] = scaled[i + 1];
            }
        }
    }
};

// Inputs as integers, in groups of rows.
constexpr int group = 48; // a multiple of every tile
static_assert(group % tile == 0, "a group is made of whole tiles");

struct inputs {
    int64_t   width, n_rows;
    int16_t * values; // [group of rows][block][row of the group][block's inputs]
    float *   scales; // [group of rows][block][row of the group]

    static int64_t n_groups(int64_t n_rows) { return (n_rows + group - 1) / group; }
    static size_t  values_size(int64_t width, int64_t n_rows) {
        return n_groups(n_rows) * group * n_blocks(width) * block * sizeof(int16_t);
    }
    static size_t scales_size(int64_t width, int64_t n_rows) {
        return n_groups(n_rows) * group * n_blocks(width) * sizeof(float);
    }
    int64_t place(int64_t row, int64_t b) const {
        return (row / group * n_blocks(width) + b) * group + row % group;
    }
    void set_row(int64_t row, const float * x) const {
        for (int64_t b = 0; b < n_blocks(width); b++) {
            const int n = (int) std::min<int64_t>(block, width - b * block);
            scales[place(row, b)] = quantise(x + b * block, n, values + place(row, b) * block);
        }
    }
};

// sums[r][0..panel) are, or grow by, the products of some rows with a panel, over one block. The rows are counted out at compile
// time: GCC keeps an array in registers only where every index is a constant.
template <bool ADD, size_t... R>
inline void add_rows(std::index_sequence<R...>, const int16_t * x, const float * x_scales, const int16_t * w,
                     const float * w_scales, int n, float (*sums)[panel]) {
    ints low[] = { (void(R), zero())... }, high[] = { (void(R), zero())... };
    for (int i = 0; i < n; i += 2) {
        const ints w_low  = load_pairs(w + i * panel);
        const ints w_high = load_pairs(w + i * panel + 2 * lanes);
        ints       both;
        ((both = all_pairs(x + R * block + i), low[R] = add_products(low[R], w_low, both),
          high[R] = add_products(high[R], w_high, both)),
         ...);
    }
    const floats s_low = load(w_scales), s_high = load(w_scales + lanes);
    const auto   before = [](const float * sum) { return ADD ? load(sum) : zero_floats(); };
    (store(sums[R], fma(to_floats(low[R]), mul(s_low, all(x_scales[R])), before(sums[R]))), ...);
    (store(sums[R] + lanes, fma(to_floats(high[R]), mul(s_high, all(x_scales[R])), before(sums[R] + lanes))), ...);
}

template <bool ADD, int R>
void add_tile(const int16_t * x, const float * x_scales, const int16_t * w, const float * w_scales, int n,
              float (*sums)[panel]) {
    add_rows<ADD>(std::make_index_sequence<R>(), x, x_scales, w, w_scales, n, sums);
}

using add_tile_fn = void (*)(const int16_t *, const float *, const int16_t *, const float *, int, float (*)[panel]);

template <size_t... COUNTS> inline add_tile_fn add_tile_of(std::index_sequence<COUNTS...>, bool add, int rows) {
    static constexpr add_tile_fn some[][tile] = { { add_tile<false, COUNTS + 1>... }, { add_tile<true, COUNTS + 1>... } };
    return some[add][rows - 1];
}

// The products of one group of rows with the panels [first, last). out(row) is where a row of results begins.
template <typename Out>
void multiply(const inputs & x, const weights & w, int64_t which, int64_t first, int64_t last, Out out) {
    const int64_t begin = which * group;
    const int     rows  = (int) std::min<int64_t>(group, x.n_rows - begin);
    alignas(64) float sums[group][panel];
    for (int64_t p = first; p < last; p++) {
        for (int64_t b = 0; b < n_blocks(x.width); b++) {
            const int       n = (int) std::min<int64_t>(block, x.width - b * block);
            const int16_t * values = w.values + p * panel * w.width + b * block * panel;
            const float *   scales = w.scales + (p * n_blocks(w.width) + b) * panel;
            for (int r = 0; r < rows; r += tile) {
                const int64_t at = x.place(begin + r, b);
                add_tile_of(std::make_index_sequence<tile>(), b > 0, std::min(tile, rows - r))(
                    x.values + at * block, x.scales + at, values, scales, n, sums + r);
            }
        }
        const int64_t n = std::min<int64_t>(panel, w.n_outputs - p * panel);
        for (int r = 0; r < rows; r++) {
            float * to = out(begin + r) + p * panel;
            if (n == panel) {
                store(to, load(sums[r]));
                store(to + lanes, load(sums[r] + lanes));
            } else {
                memcpy(to, sums[r], n * sizeof(float));
            }
        }
    }
}

} // namespace lc_encoders

#endif
