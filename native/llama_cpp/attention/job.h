// One attention: its tensors, and how its work is cut.
#pragma once

#include "alike.h"
#include "rows.h"

#ifdef LC_SIMD

namespace lc_attention {

// Queries that llama.cpp's own kernel for many takes at a time.
constexpr int64_t query_tile = ggml_fa_tile_config::Q;
// The parts of the keys are units of their own where there are fewer others than this.
constexpr int64_t least_units = 64;

// The keys are cut into parts: 32 of least_part keys, then 16 of twice as many, then 16 of twice as many again, and so
// on. Each part has a sum of its own, and these are added up in order. Where the cuts are depends on nothing but the
// place of a key, so that a query's result is the same to the last bit whatever is computed beside it.
constexpr int64_t least_part = 2 * block;

// The first key of a part.
inline int64_t part_begin(int64_t part) {
    int64_t doublings = std::max<int64_t>(0, part / 16 - 1);
    return (part - 16 * doublings) * (least_part << doublings);
}

inline int64_t count_parts(int64_t n_keys) {
    int64_t doublings = 0;
    while (n_keys > 32 * (least_part << doublings)) {
        doublings++;
    }
    const int64_t size = least_part << doublings;
    return 16 * doublings + (n_keys + size - 1) / size;
}

// Those of a prompt's tokens that fill whole tiles.
inline int64_t whole_tiles(int64_t n_tokens) { return n_tokens / query_tile * query_tile; }

// The tensors' sizes, and how the work is cut: into units of some queries that share a key-value head, which go
// through all parts of the keys or, where there are few queries, through one.
struct job {
    const ggml_tensor * q;
    const ggml_tensor * k;
    const ggml_tensor * v;
    const ggml_tensor * mask;
    const ggml_tensor * sinks;
    ggml_tensor *       dst;

    int64_t width_k, width_v;
    int64_t first; // of the tokens that are computed here, n_tokens of them
    int64_t n_keys, n_tokens, n_heads, n_heads_kv, n_streams;
    int64_t heads_per_kv; // query heads that share a key-value head
    int64_t n_tiles;      // of up to max_rows queries, in each pair of key-value head and stream
    int64_t n_parts;      // of the keys
    bool    is_cut;       // whether each part is a unit of its own

    const lc_alike * alike;        // which streams of the cache begin alike, if it is known
    int64_t          first_stream; // of the cache, that is the first one here

    float scale, max_bias, softcap;

    // The tokens [first, end).
    job(ggml_tensor * out, int64_t first_, int64_t end) :
        q(out->src[0]), k(out->src[1]), v(out->src[2]), mask(out->src[3]), sinks(out->src[4]), dst(out),
        width_k(k->ne[0]), width_v(v->ne[0]), first(first_), n_keys(k->ne[1]), n_tokens(end - first), n_heads(q->ne[2]),
        n_heads_kv(k->ne[2]), n_streams(q->ne[3]), heads_per_kv(n_heads / n_heads_kv),
        n_tiles((heads_per_kv * n_tokens + max_rows - 1) / max_rows), n_parts(count_parts(n_keys)),
        is_cut(false), alike(n_streams > 1 ? lc_alike_of(k->view_src) : nullptr),
        first_stream(alike ? ((const char *) k->data - (const char *) k->view_src->data) / (int64_t) k->nb[3] : 0) {
        memcpy(&scale, (const float *) out->op_params + 0, sizeof(float));
        memcpy(&max_bias, (const float *) out->op_params + 1, sizeof(float));
        memcpy(&softcap, (const float *) out->op_params + 2, sizeof(float));
        if (softcap != 0.0f) {
            scale /= softcap;
        }
    }

    int64_t n_units() const { return n_streams * n_heads_kv * n_tiles * (is_cut ? n_parts : 1); }
    int64_t n_rows() const { return n_streams * n_heads * n_tokens; }
    size_t  partial_size() const { return 2 + (size_t) width_v; } // max, weight, sum

    bool fits() const {
        const bool types  = q->type == GGML_TYPE_F32 && k->type == v->type &&
                            (k->type == GGML_TYPE_F16 || k->type == GGML_TYPE_F32);
        const bool widths = width_k % lc_simd::width == 0 && width_v % lc_simd::width == 0 &&
                            width_k <= max_width && width_v <= max_width;
        const bool shapes = v->ne[1] == n_keys && v->ne[2] == n_heads_kv && n_heads % n_heads_kv == 0 &&
                            k->ne[3] == n_streams && v->ne[3] == n_streams;
        const bool rows_are_whole = q->nb[0] == sizeof(float) && k->nb[0] == ggml_type_size(k->type) &&
                                    v->nb[0] == ggml_type_size(v->type) && dst->nb[0] == sizeof(float);
        return types && widths && shapes && rows_are_whole;
    }
    bool few() const { return n_tokens < query_tile; }
    // A cache's keys are a view of it; an encoder's are computed for this graph alone.
    bool in_cache() const { return k->view_src != nullptr; }

    // The stream, counted from the first one here, in whose memory the keys before `end` are read.
    int64_t holder(int64_t stream, int64_t end) const {
        return alike ? lc_holder(alike, first_stream + stream, end) - first_stream : stream;
    }

    bool any_alike() const {
        for (int64_t stream = 0; alike && stream < n_streams; stream++) {
            if (holder(stream, part_begin(1)) != stream) {
                return true;
            }
        }
        return false;
    }

    size_t partials_size() const { return sizeof(float) * n_rows() * n_parts * partial_size(); }

    // Makes units of the parts when the queries alone are too few for many threads, or streams that begin alike are to
    // read a part one after another, and there is room for the sums.
    void cut_keys(size_t room) {
        is_cut = n_parts > 1 && (n_units() < least_units || any_alike()) && partials_size() <= room;
    }

    float slope(int64_t head) const { // ALiBi, arXiv:2108.12409
        if (max_bias <= 0.0f) {
            return 1.0f;
        }
        const int64_t power = int64_t(1) << (int) floor(log2((double) n_heads));
        return head < power ? powf(powf(2.0f, -max_bias / power), head + 1)
                            : powf(powf(2.0f, -max_bias / 2.0f / power), 2 * (head - power) + 1);
    }
};

// Divides by the weight and writes the row of the result, after the attention sink, if the head has one.
inline void finish(const job & work, int64_t stream, int64_t head, int64_t token, float * sum, float max, float weight) {
    const int width = (int) work.width_v;
    if (work.sinks) {
        const float sink = ((const float *) work.sinks->data)[head];
        const float top  = std::max(sink, max);
        lc_attention::scale_row(sum, width, expf(max - top));
        weight = weight * expf(max - top) + expf(sink - top);
    }
    lc_attention::scale_row(sum, width, weight == 0.0f ? 0.0f : 1.0f / weight);
    const int64_t row = (stream * work.dst->ne[2] + token) * work.dst->ne[1] + head;
    memcpy((char *) work.dst->data + row * work.dst->nb[1], sum, width * sizeof(float));
}

} // namespace lc_attention

#endif
