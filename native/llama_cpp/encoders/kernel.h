// Products of packed weights with many rows, in 16-bit integers.
//
// Each row of inputs and of weights is scaled so that its largest value fits into 16 bits and its norm is at most
// `longest`. Products of pairs are summed in 32 bits: by the inequality of Cauchy and Schwarz the sum of a row's
// products is at most that norm's square, which fits. (What is in between may wrap around; the sum is the same.) The
// error of a result is a few parts in 10,000 of the product of both norms, less than a tenth of bfloat16's, and takes two
// multiplications a lane and step, so half the steps of single precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX2__) && defined(__FMA__) && (defined(__AVX512BW__) || !defined(__AVX512F__))
#    include <immintrin.h>
#    define LC_PACKED_PRODUCTS 1

namespace lc_encoders {

constexpr int   block   = 128;   // inputs of a row that lie side by side
constexpr float largest = 32767; // of a scaled value
constexpr float longest = 46000; // of a scaled row: 46340^2 < 2^31, less what rounding adds to rows of up to 400,000

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
inline floats add(floats a, floats b) { return _mm512_add_ps(a, b); }
inline floats mul(floats a, floats b) { return _mm512_mul_ps(a, b); }
inline floats fma(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
inline floats to_floats(ints x) { return _mm512_cvtepi32_ps(x); }
inline ints   load_pairs(const int16_t * p) { return _mm512_loadu_si512(p); }
inline ints   load_sums(const int32_t * p) { return _mm512_loadu_si512(p); }
inline void   store_sums(int32_t * p, ints x) { _mm512_storeu_si512(p, x); }
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
inline floats absolute(floats x) { return _mm512_abs_ps(x); }
inline floats most(floats a, floats b) { return _mm512_max_ps(a, b); }
inline float  most(floats x) { return _mm512_reduce_max_ps(x); }
inline float  sum(floats x) { return _mm512_reduce_add_ps(x); }
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
inline floats add(floats a, floats b) { return _mm256_add_ps(a, b); }
inline floats mul(floats a, floats b) { return _mm256_mul_ps(a, b); }
inline floats fma(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
inline floats to_floats(ints x) { return _mm256_cvtepi32_ps(x); }
inline ints   load_pairs(const int16_t * p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
inline ints   load_sums(const int32_t * p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
inline void   store_sums(int32_t * p, ints x) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), x); }
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
inline floats absolute(floats x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
inline floats most(floats a, floats b) { return _mm256_max_ps(a, b); }
inline __m128 halves(floats x, __m128 (*join)(__m128, __m128)) {
    const __m128 four = join(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two  = join(four, _mm_movehl_ps(four, four));
    return join(two, _mm_movehdup_ps(two));
}
inline float most(floats x) { return _mm_cvtss_f32(halves(x, [](__m128 a, __m128 b) { return _mm_max_ps(a, b); })); }
inline float sum(floats x) { return _mm_cvtss_f32(halves(x, [](__m128 a, __m128 b) { return _mm_add_ps(a, b); })); }
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

// What makes integers of a row. Its inverse, which brings them back, is put into `back`; it is no number for a row that
// has a value which is none. n: a multiple of 16.
inline float scale_of(const float * x, int64_t n, float & back) {
    floats high = zero_floats(), squares = zero_floats();
    for (int64_t i = 0; i < n; i += lanes) {
        const floats some = load(x + i);
        high              = most(high, absolute(some));
        squares           = fma(some, some, squares);
    }
    const float greatest = most(high), norm = std::sqrt(sum(squares));
    if (std::isnan(norm) || std::isinf(greatest) || greatest < 1e-30f) { // the last: next to nothing
        back = std::isnan(norm) || std::isinf(greatest) ? NAN : 0.0f;
        return 0.0f;
    }
    const bool  exact = greatest > 1e-15f && greatest < 1e15f; // the squares are neither lost nor infinite
    const float by    = std::min(largest / greatest, exact ? longest / norm : longest / std::sqrt((float) n) / greatest);
    back              = 1.0f / by;
    return by;
}

// Weights of one matrix: for each panel the values, pair by pair for all outputs, and their scales.
struct weights {
    int64_t   width, n_outputs;
    int16_t * values; // [panel][width / 2][output of the panel][2]
    float *   scales; // [panel][output of the panel]

    static size_t values_size(int64_t width, int64_t n_outputs) {
        return n_panels(n_outputs) * panel * width * sizeof(int16_t);
    }
    static size_t scales_size(int64_t n_outputs) { return n_panels(n_outputs) * panel * sizeof(float); }

    // Takes in one output's row.
    void set_row(int64_t output, const float * row) const {
        const float by = scale_of(row, width, scales[output]);
        int16_t     scaled[block];
        int16_t *   out = values + output / panel * panel * width + 2 * (output % panel);
        for (int64_t b = 0; b < n_blocks(width); b++, out += block * panel) {
            const int n = (int) std::min<int64_t>(block, width - b * block);
            scale_to_ints(row + b * block, n, by, scaled);
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
    float *   scales; // [row]

    static int64_t n_groups(int64_t n_rows) { return (n_rows + group - 1) / group; }
    static size_t  values_size(int64_t width, int64_t n_rows) {
        return n_groups(n_rows) * group * n_blocks(width) * block * sizeof(int16_t);
    }
    static size_t scales_size(int64_t n_rows) { return n_rows * sizeof(float); }
    // Where a block of a row begins. Rows lie close together: far apart, at powers of two, they would push one another
    // out of the nearest cache.
    int16_t * place(int64_t row, int64_t b) const {
        return values + ((row / group * n_blocks(width) + b) * group + row % group) * block;
    }
    void set_row(int64_t row, const float * x) const {
        const float by = scale_of(x, width, scales[row]);
        for (int64_t b = 0; b < n_blocks(width); b++) {
            const int n = (int) std::min<int64_t>(block, width - b * block);
            scale_to_ints(x + b * block, n, by, place(row, b));
        }
    }
};

// sums[r][0..panel) are, or grow by, the products of some rows with a panel, over n inputs. The rows are counted out at
// compile time: GCC keeps an array in registers only where every index is a constant.
template <bool ADD, size_t... R>
inline void add_rows(std::index_sequence<R...>, const int16_t * x, const int16_t * w, int64_t n,
                     int32_t (*sums)[panel]) {
    ints low[]  = { (ADD ? load_sums(sums[R]) : zero())... };
    ints high[] = { (ADD ? load_sums(sums[R] + lanes) : zero())... };
    for (; n > 0; n -= block, x += group * block) {
        for (int i = 0; i < std::min<int64_t>(n, block); i += 2, w += 2 * panel) {
            const ints w_low = load_pairs(w), w_high = load_pairs(w + 2 * lanes);
            ints       both;
            ((both = all_pairs(x + R * block + i), low[R] = add_products(low[R], w_low, both),
              high[R] = add_products(high[R], w_high, both)),
             ...);
        }
    }
    (store_sums(sums[R], low[R]), ...);
    (store_sums(sums[R] + lanes, high[R]), ...);
}

template <bool ADD, int R> void add_tile(const int16_t * x, const int16_t * w, int64_t n, int32_t (*sums)[panel]) {
    add_rows<ADD>(std::make_index_sequence<R>(), x, w, n, sums);
}

using add_tile_fn = void (*)(const int16_t *, const int16_t *, int64_t, int32_t (*)[panel]);

template <size_t... COUNTS> inline add_tile_fn add_tile_of(std::index_sequence<COUNTS...>, bool add, int rows) {
    static constexpr add_tile_fn some[][tile] = { { add_tile<false, COUNTS + 1>... }, { add_tile<true, COUNTS + 1>... } };
    return some[add][rows - 1];
}

// The products of one group of rows with the panels [first, last). put(row, output, n, low, high) takes the n results of
// a row that begin at an output: a panel of them, in two vectors.
template <typename Put>
void multiply(const inputs & x, const weights & w, int64_t which, int64_t first, int64_t last, const Put & put) {
    constexpr int64_t part  = 4 * block; // so much of a panel stays in the nearest cache, beside a tile's inputs
    const int64_t     begin = which * group;
    const int         rows  = (int) std::min<int64_t>(group, x.n_rows - begin);
    alignas(64) int32_t sums[group][panel];
    for (int64_t p = first; p < last; p++) {
        for (int64_t i = 0; i < x.width; i += part) {
            const int16_t * values = w.values + (p * w.width + i) * panel;
            for (int r = 0; r < rows; r += tile) {
                add_tile_of(std::make_index_sequence<tile>(), i > 0, std::min(tile, rows - r))(
                    x.place(begin + r, i / block), values, std::min(part, x.width - i), sums + r);
            }
        }
        const float * scales = w.scales + p * panel;
        const floats  s_low = load(scales), s_high = load(scales + lanes);
        const int     n = (int) std::min<int64_t>(panel, w.n_outputs - p * panel);
        for (int r = 0; r < rows; r++) {
            const floats scale = all(x.scales[begin + r]);
            put(begin + r, p * panel, n, mul(to_floats(load_sums(sums[r])), mul(s_low, scale)),
                mul(to_floats(load_sums(sums[r] + lanes)), mul(s_high, scale)));
        }
    }
}

} // namespace lc_encoders

#endif
