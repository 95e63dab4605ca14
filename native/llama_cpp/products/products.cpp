// Products of quantised weights and tokens.
//
// This is llama.cpp's tiled.cpp, which computes products of some types for eight tokens and more, with three
// functions of ours in place of its own. Where ours do not fit (other types, weights that are no plain matrix, an
// instruction set without code here), theirs are called. That does not depend on the number of tokens, nor does the
// order in which ours add up, so that an answer does not depend on which other tokens are computed with it.
#define ggml_tiled_wdata_size                 ggml_tiled_wdata_size_as_published
#define ggml_compute_forward_mul_mat_tiled    ggml_compute_forward_mul_mat_tiled_as_published
#define ggml_compute_forward_mul_mat_id_tiled ggml_compute_forward_mul_mat_id_tiled_as_published
#include "ggml-cpu/tiled/tiled.cpp"
#undef ggml_tiled_wdata_size
#undef ggml_compute_forward_mul_mat_tiled
#undef ggml_compute_forward_mul_mat_id_tiled

#include "kernel_large.h"
#include "tokens.h"

#include <algorithm>

extern "C" {
size_t ggml_tiled_wdata_size(int n_tasks, struct ggml_tensor * dst);
bool   ggml_compute_forward_mul_mat_tiled(const struct ggml_compute_params * params, struct ggml_tensor * dst);
bool   ggml_compute_forward_mul_mat_id_tiled(const struct ggml_compute_params * params, struct ggml_tensor * dst,
                                             int64_t cur_a, int64_t cne1, const int32_t * expert_rows,
                                             char * scratch);
}

#ifdef LC_PRODUCTS

namespace {

using namespace lc_products;

constexpr int64_t most_rows = 64;   // that a thread unpacks before it goes through the tokens
constexpr int64_t most_direct_rows = 256; // that it multiplies directly before it looks for more
constexpr int64_t depth     = 1024; // weights of a row that are unpacked at once: a strip stays in the first cache

size_t padded(size_t size) { return (size + 63) / 64 * 64; }

char * aligned(void * p) { return reinterpret_cast<char *>(padded(reinterpret_cast<uintptr_t>(p))); }

template <typename W> constexpr size_t strips_size() { return most_rows / lanes * (depth / W::length * W::strip_size); }

// What is done with the weights of a kind: of one of the types with small blocks, or with large ones.
template <typename W, bool = W::length == 256> struct kind {
    static void fill(uint8_t * strip, const strip_rows<W> & rows, int n) { fill_strip(strip, rows, n); }
    static void fill(int8_t * tile, int size, int place, const typename W::tokens * x, int n) {
        fill_token<W>(tile, size, place, x, n);
    }
    template <int T> static constexpr multiply_fn           of_strip = multiply<form<W::has_min, W::greatest>, T>;
    template <int T> static constexpr multiply_direct_fn<W> direct   = multiply_direct<W, T>;
};
template <typename W> struct kind<W, true> {
    static void fill(uint8_t * strip, const strip_rows<W> & rows, int n) { fill_large_strip(strip, rows, n); }
    static void fill(int8_t * tile, int size, int place, const block_q8_K * x, int n) {
        fill_large_token<W>(tile, size, place, x, n);
    }
    template <int T> static constexpr multiply_fn           of_strip = multiply_large<W, T>;
    template <int T> static constexpr multiply_direct_fn<W> direct   = multiply_large_direct<W, T>;
};

template <typename W, int... I> multiply_fn strip_kernel(int n_tokens, std::integer_sequence<int, I...>) {
    static constexpr multiply_fn few[] = { kind<W>::template of_strip<I + 1>... };
    return n_tokens == max_tokens ? kind<W>::template of_strip<max_tokens> : few[n_tokens - 1];
}

template <typename W, int... I>
multiply_direct_fn<W> direct_kernel(int n_tokens, std::integer_sequence<int, I...>) {
    static constexpr multiply_direct_fn<W> few[] = { kind<W>::template direct<I + 1>... };
    return few[n_tokens - 1];
}

struct rows {
    const char * data;
    size_t       stride;
    int64_t      first, n, width;
};

// Rows of weights times so few tokens that they are one tile, and that unpacking costs more than it saves.
template <typename W, typename Inputs> void multiply_rows_directly(const rows & weights, const Inputs & inputs) {
    const int     n_tokens = inputs.tiles.size(0);
    const int64_t length   = depth * (max_tokens / most_direct); // of a tile that an expert has room for
    const auto    kernel   = direct_kernel<W>(n_tokens, std::make_integer_sequence<int, most_direct>());
    for (int64_t k = 0; k < weights.width; k += length) {
        const int64_t  n      = std::min(length, weights.width - k);
        const int8_t * tokens = inputs.tile_at(0, k / W::length, n / W::length);
        for (int64_t r = 0; r < weights.n; r += lanes) {
            const int64_t       first = weights.first + r;
            const int           n_rows = (int) std::min<int64_t>(lanes, weights.n - r);
            const char *        data = weights.data + first * weights.stride + k / W::length * sizeof(typename W::block);
            const strip_rows<W> strip(data, weights.stride, n_rows, r + lanes >= weights.n);
            float *             out[max_tokens];
            for (int t = 0; t < n_tokens; t++) {
                out[t] = inputs.output(t) + first;
            }
            kernel(strip, tokens, (int) (n / W::length), out, n_rows, k > 0);
        }
    }
}

// Rows of weights times tiles of tokens. `inputs.tile_at(tile, first block, blocks)` lays out or finds a tile,
// `inputs.output(token)` is where the token's results begin.
template <typename W, typename Inputs>
void multiply_rows(const rows & weights, uint8_t * strips, const Inputs & inputs, int64_t first_tile, int64_t end_tile) {
    constexpr int64_t size = depth / W::length * W::strip_size;
    if (inputs.tiles.n_tokens <= most_direct) {
        return multiply_rows_directly<W>(weights, inputs);
    }
    for (int64_t k = 0; k < weights.width; k += depth) {
        const int64_t n = std::min(depth, weights.width - k);
        for (int64_t r = 0; r < weights.n; r += lanes) {
            const char * data = weights.data + (weights.first + r) * weights.stride;
            const strip_rows<W> strip(data + k / W::length * sizeof(typename W::block), weights.stride,
                                      (int) std::min<int64_t>(lanes, weights.n - r));
            kind<W>::fill(strips + r / lanes * size, strip, (int) (n / W::length));
        }
        for (int64_t tile = first_tile; tile < end_tile; tile++) {
            const int         n_tokens = inputs.tiles.size(tile);
            const int8_t *    tokens   = inputs.tile_at(tile, k / W::length, n / W::length);
            const multiply_fn kernel   = strip_kernel<W>(n_tokens, std::make_integer_sequence<int, max_left>());
            for (int64_t r = 0; r < weights.n; r += lanes) {
                float * out[max_tokens];
                for (int t = 0; t < n_tokens; t++) {
                    out[t] = inputs.output(inputs.tiles.first(tile) + t) + weights.first + r;
                }
                kernel(strips + r / lanes * size, tokens, (int) (n / W::length), out,
                       (int) std::min<int64_t>(lanes, weights.n - r), k > 0);
            }
        }
    }
}

// The whole product, as one thread of several computes it. The tokens are laid out in the work buffer, by all
// threads together; after them each thread has its strips.
template <typename W> struct product {
    using X = typename W::tokens;

    const ggml_compute_params * params;
    ggml_tensor *               dst;
    const ggml_tensor *         weights;
    const ggml_tensor *         input;
    int64_t                     width;
    tiling                      tiles;
    int8_t *                    tokens;

    product(const ggml_compute_params * p, ggml_tensor * out) :
        params(p), dst(out), weights(out->src[0]), input(out->src[1]), width(weights->ne[0]), tiles(ggml_nrows(input)),
        tokens((int8_t *) aligned(p->wdata)) {}

    static size_t tokens_size(const ggml_tensor * input) {
        return padded(ggml_nelements(input) / W::length * W::token_size);
    }

    static size_t size(int n_threads, const ggml_tensor * out) {
        return 64 + tokens_size(out->src[1]) + n_threads * strips_size<W>();
    }

    int8_t * tile_at(int64_t tile, int64_t block, int64_t = 0) const {
        return tokens + (tiles.first(tile) * (width / W::length) + block * tiles.size(tile)) * W::token_size;
    }

    float * output(int64_t token) const { return (float *) ((char *) dst->data + token * dst->nb[1]); }

    const float * input_row(int64_t token) const {
        const int64_t i1 = token % input->ne[1], i2 = token / input->ne[1] % input->ne[2];
        const int64_t i3 = token / input->ne[1] / input->ne[2];
        return (const float *) ((const char *) input->data + i1 * input->nb[1] + i2 * input->nb[2] + i3 * input->nb[3]);
    }

    // Each thread quantises its share of each token.
    void quantise() const {
        constexpr int64_t       length = W::length, at_once = 256;
        const ggml_from_float_t convert =
            ggml_get_type_traits_cpu(ggml_get_type_traits_cpu(weights->type)->vec_dot_type)->from_float;
        const int64_t begin = width / length * params->ith / params->nth * length;
        const int64_t end   = width / length * (params->ith + 1) / params->nth * length;
        for (int64_t token = 0; token < tiles.n_tokens; token++) {
            const float * row  = input_row(token);
            const int64_t tile = tiles.tile_of(token);
            for (int64_t k = begin; k < end; k += at_once) {
                const int64_t n = std::min(at_once, end - k);
                X             x[at_once / length];
                convert(row + k, x, n);
                kind<W>::fill(tile_at(tile, k / W::length), tiles.size(tile), (int) (token - tiles.first(tile)), x,
                              (int) (n / W::length));
            }
        }
    }

    void compute() const {
        quantise();
        if (params->ith == 0) {
            ggml_threadpool_chunk_set(params->threadpool, params->nth);
        }
        ggml_barrier(params->threadpool);
        // pieces of the rows, and of the tokens where the rows alone are too few for the threads
        const int64_t n_rows = weights->ne[1], wanted = params->nth == 1 ? 1 : 4 * params->nth;
        int64_t       n = tiles.n_tokens <= most_direct ? most_direct_rows : tiles.n_tiles == 1 ? lanes : most_rows;
        while (n > lanes && (n_rows + n - 1) / n < wanted) {
            n /= 2;
        }
        const int64_t row_pieces  = (n_rows + n - 1) / n;
        const int64_t tile_pieces = std::min(tiles.n_tiles, (wanted + row_pieces - 1) / row_pieces);
        uint8_t *     strips      = (uint8_t *) tokens + tokens_size(input) + params->ith * strips_size<W>();
        for (int64_t i = params->ith; i < row_pieces * tile_pieces;
             i         = ggml_threadpool_chunk_add(params->threadpool, 1)) {
            const int64_t first = i / tile_pieces * n, piece = i % tile_pieces;
            const rows    part  = { (const char *) weights->data, weights->nb[1], first, std::min(n, n_rows - first), width };
            multiply_rows<W>(part, strips, *this, tiles.n_tiles * piece / tile_pieces,
                             tiles.n_tiles * (piece + 1) / tile_pieces);
        }
    }
};

// One expert's product. The tokens are quantised already, one after another; each thread lays a tile out for itself.
template <typename W> struct expert_product {
    using X = typename W::tokens;

    const ggml_compute_params * params;
    ggml_tensor *               dst;
    const int32_t *             pairs; // of each token: its place among the chosen experts, and its number
    tiling                      tiles;
    char *                      own;
    size_t                      x_row;

    expert_product(const ggml_compute_params * p, ggml_tensor * out, int64_t n_tokens, const int32_t * of_tokens,
                   char * scratch) :
        params(p), dst(out), pairs(of_tokens), tiles(n_tokens), own(aligned(scratch) + p->ith * size()),
        x_row(out->src[1]->ne[0] / W::length * sizeof(X)) {}

    static size_t size() { return strips_size<W>() + padded(max_tokens * (depth / W::length * W::token_size)); }

    const int8_t * tile_at(int64_t tile, int64_t block, int64_t n_blocks) const {
        int8_t *      laid = (int8_t *) own + strips_size<W>();
        const int64_t n1   = dst->src[1]->ne[1];
        for (int t = 0; t < tiles.size(tile); t++) {
            const int32_t * pair = pairs + 2 * (tiles.first(tile) + t);
            const X *       x    = (const X *) ((const char *) params->wdata + (pair[0] % n1 + pair[1] * n1) * x_row);
            kind<W>::fill(laid, tiles.size(tile), t, x + block, (int) n_blocks);
        }
        return laid;
    }

    float * output(int64_t token) const {
        return (float *) ((char *) dst->data + pairs[2 * token] * dst->nb[1] + pairs[2 * token + 1] * dst->nb[2]);
    }

    void compute(int64_t expert) const {
        const ggml_tensor * weights = dst->src[0];
        const int64_t       n_rows = weights->ne[1], n_strips = (n_rows + lanes - 1) / lanes;
        const int64_t       end = std::min(n_rows, n_strips * (params->ith + 1) / params->nth * lanes);
        rows part = { (const char *) weights->data + expert * weights->nb[2], weights->nb[1], 0, 0, weights->ne[0] };
        for (part.first = n_strips * params->ith / params->nth * lanes; part.first < end; part.first += most_rows) {
            part.n = std::min(most_rows, end - part.first);
            multiply_rows<W>(part, (uint8_t *) own, *this, 0, tiles.n_tiles);
        }
    }
};

// Calls `found` with an object of the type's class; false if there is none.
template <typename Found> bool with_type(ggml_type type, Found && found) {
    switch (type) {
        case GGML_TYPE_Q4_0: return found(q4_0()), true;
        case GGML_TYPE_Q4_1: return found(q4_1()), true;
        case GGML_TYPE_Q5_0: return found(q5_0()), true;
        case GGML_TYPE_Q5_1: return found(q5_1()), true;
        case GGML_TYPE_Q2_K: return found(q2_K()), true;
        case GGML_TYPE_Q3_K: return found(q3_K()), true;
        case GGML_TYPE_Q4_K: return found(q4_K()), true;
        case GGML_TYPE_Q5_K: return found(q5_K()), true;
        case GGML_TYPE_Q6_K: return found(q6_K()), true;
#    ifdef LC_PRODUCTS_VNNI
        case GGML_TYPE_Q8_0: return found(q8_0()), true;
#    endif
        default: return false;
    }
}

bool is_ours(const ggml_tensor * dst) {
    const ggml_tensor * weights = dst->src[0];
    const ggml_tensor * input   = dst->src[1];
    const bool          is_plain = dst->op == GGML_OP_MUL_MAT_ID ||
                          (ggml_is_matrix(weights) && (ggml_is_matrix(input) || ggml_is_contiguous(dst)));
    return with_type(weights->type, [](auto) {}) && is_plain && !weights->extra && input->type == GGML_TYPE_F32 && input->nb[0] == sizeof(float);
}

} // namespace

size_t ggml_tiled_wdata_size(int n_tasks, struct ggml_tensor * dst) {
    size_t size = ggml_tiled_wdata_size_as_published(n_tasks, dst);
    if (is_ours(dst)) {
        with_type(dst->src[0]->type, [&](auto type) {
            using W = decltype(type);
            size    = std::max(size, dst->op == GGML_OP_MUL_MAT ? product<W>::size(n_tasks, dst) :
                                                                  64 + n_tasks * expert_product<W>::size());
        });
    }
    return size;
}

bool ggml_compute_forward_mul_mat_tiled(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    if (params->use_ref || !is_ours(dst)) {
        return ggml_compute_forward_mul_mat_tiled_as_published(params, dst);
    }
    return with_type(dst->src[0]->type, [&](auto type) { product<decltype(type)>(params, dst).compute(); });
}

bool ggml_compute_forward_mul_mat_id_tiled(const struct ggml_compute_params * params, struct ggml_tensor * dst,
                                           int64_t cur_a, int64_t cne1, const int32_t * expert_rows, char * scratch) {
    if (params->use_ref || !is_ours(dst)) {
        return ggml_compute_forward_mul_mat_id_tiled_as_published(params, dst, cur_a, cne1, expert_rows, scratch);
    }
    return with_type(dst->src[0]->type, [&](auto type) {
        expert_product<decltype(type)>(params, dst, cne1, expert_rows, scratch).compute(cur_a);
    });
}

#else

size_t ggml_tiled_wdata_size(int n_tasks, struct ggml_tensor * dst) {
    return ggml_tiled_wdata_size_as_published(n_tasks, dst);
}

bool ggml_compute_forward_mul_mat_tiled(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    return ggml_compute_forward_mul_mat_tiled_as_published(params, dst);
}

bool ggml_compute_forward_mul_mat_id_tiled(const struct ggml_compute_params * params, struct ggml_tensor * dst,
                                           int64_t cur_a, int64_t cne1, const int32_t * expert_rows, char * scratch) {
    return ggml_compute_forward_mul_mat_id_tiled_as_published(params, dst, cur_a, cne1, expert_rows, scratch);
}

#endif
