// Flash attention on the CPU for few queries at a time: decoding, one stream or many.
//
// This is llama.cpp's ops.cpp with one function of ours in place of its
// ggml_compute_forward_flash_attn_ext(). Where ours does not fit (quantised caches, many queries, widths that
// are no multiple of a vector, an instruction set without vectors here), theirs is called.
#include "ggml-cpu/vec.h"

#include "gelu.h" // in place of vec.h's in what follows

#define ggml_compute_forward_flash_attn_ext ggml_compute_forward_flash_attn_ext_as_published
#include "ggml-cpu/ops.cpp"
#undef ggml_compute_forward_flash_attn_ext

#include "rows.h"
#include "tiles.h"

#include <tuple>

extern "C" void ggml_compute_forward_flash_attn_ext(const ggml_compute_params * params, ggml_tensor * dst);

#ifdef LC_SIMD

namespace {

using lc_attention::block;
using lc_attention::max_rows;
using lc_attention::max_width;
using lc_attention::rows;

// The tensors' sizes, and how the work is cut: into units of some queries that share a key-value head, times
// some part of the keys.
struct job {
    const ggml_tensor * q;
    const ggml_tensor * k;
    const ggml_tensor * v;
    const ggml_tensor * mask;
    const ggml_tensor * sinks;
    ggml_tensor *       dst;

    int64_t width_k, width_v;
    int64_t n_keys, n_tokens, n_heads, n_heads_kv, n_streams;
    int64_t heads_per_kv; // query heads that share a key-value head
    int64_t n_tiles;      // of up to max_rows queries, in each pair of key-value head and stream
    int64_t n_parts, part_size; // of the keys

    float scale, max_bias, softcap;

    explicit job(ggml_tensor * out) :
        q(out->src[0]), k(out->src[1]), v(out->src[2]), mask(out->src[3]), sinks(out->src[4]), dst(out),
        width_k(k->ne[0]), width_v(v->ne[0]), n_keys(k->ne[1]), n_tokens(q->ne[1]), n_heads(q->ne[2]),
        n_heads_kv(k->ne[2]), n_streams(q->ne[3]), heads_per_kv(n_heads / n_heads_kv),
        n_tiles((heads_per_kv * n_tokens + max_rows - 1) / max_rows), n_parts(1), part_size(n_keys) {
        memcpy(&scale, (const float *) out->op_params + 0, sizeof(float));
        memcpy(&max_bias, (const float *) out->op_params + 1, sizeof(float));
        memcpy(&softcap, (const float *) out->op_params + 2, sizeof(float));
        if (softcap != 0.0f) {
            scale /= softcap;
        }
    }

    int64_t n_units() const { return n_streams * n_heads_kv * n_tiles * n_parts; }
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
    bool few() const { return n_tokens < (int64_t) ggml_fa_tile_config::Q; }
    bool many() const {
        return softcap == 0.0f && width_v % lc_attention::tile_width == 0 && (!mask || mask->nb[0] == sizeof(ggml_fp16_t));
    }

    // Cuts the keys too when the queries alone are too few for the threads.
    void share_among(int n_threads, size_t room) {
        const int64_t units = n_units();
        const int64_t most  = n_keys / block;
        if (n_threads == 1 || units >= 4 * n_threads || most < 2) {
            return;
        }
        const int64_t wanted = std::min(most, (4 * n_threads + units - 1) / units);
        const size_t  needs  = sizeof(float) * n_rows() * wanted * partial_size();
        if (needs > room) {
            return;
        }
        part_size = (n_keys + wanted - 1) / wanted;
        part_size = (part_size + block - 1) / block * block;
        n_parts   = (n_keys + part_size - 1) / part_size;
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

// Which queries a unit has, and where they are.
struct place {
    int64_t stream, head_kv, part;
    int     n; // queries
    int64_t head[max_rows], token[max_rows];

    place(const job & work, int64_t unit) {
        // all heads of a part of the keys come one after another: they lie beside one another in memory
        const int64_t tile = unit % work.n_tiles;
        head_kv            = unit / work.n_tiles % work.n_heads_kv;
        part               = unit / work.n_tiles / work.n_heads_kv % work.n_parts;
        stream             = unit / work.n_tiles / work.n_heads_kv / work.n_parts;
        const int64_t all  = work.heads_per_kv * work.n_tokens;
        n                  = (int) std::min<int64_t>(max_rows, all - tile * max_rows);
        for (int r = 0; r < n; r++) {
            const int64_t row = tile * max_rows + r;
            head[r]           = head_kv * work.heads_per_kv + row % work.heads_per_kv;
            token[r]          = row / work.heads_per_kv;
        }
    }
};

// Adds the mask to the scores; false if it forbids all of the block.
bool add_mask(const job & work, const place & at, rows & s, const ggml_fp16_t * const * mask, const float * slope,
              int64_t first, int n, bool only_look) {
    if (!work.mask) {
        return true;
    }
    bool any = false;
    for (int r = 0; r < at.n; r++) {
        const ggml_fp16_t * row = mask[r] + first;
        if (only_look) {
            for (int j = 0; j < n && !any; j++) {
                any = row[j] != 0xFC00; // minus infinity
            }
        } else {
            for (int j = 0; j < n; j++) {
                s.score[r][j] += slope[r] * GGML_CPU_FP16_TO_FP32(row[j]);
            }
        }
    }
    return any;
}

// Turns the block's scores into exp(score - max), and what was added up before to the new maximum.
void soften(const job & work, const place & at, rows & s, int n) {
    for (int r = 0; r < at.n; r++) {
        float max = s.max[r];
        for (int j = 0; j < n; j++) {
            max = std::max(max, s.score[r][j]);
        }
        if (max == -INFINITY) {
            memset(s.score[r], 0, n * sizeof(float));
            continue;
        }
        if (max > s.max[r]) {
            const float factor = expf(s.max[r] - max);
            lc_attention::scale_row(s.sum[r], (int) work.width_v, factor);
            s.weight[r] *= factor;
            s.max[r] = max;
        }
        s.weight[r] += (float) ggml_vec_soft_max_f32(n, s.score[r], s.score[r], max);
    }
}

template <int R, typename T> void attend(const job & work, const place & at, rows & s) {
    const ggml_fp16_t * mask[max_rows]  = {};
    float               slope[max_rows] = {};
    for (int r = 0; r < R; r++) {
        const char * q = (const char *) work.q->data + at.token[r] * work.q->nb[1] + at.head[r] * work.q->nb[2] +
                         at.stream * work.q->nb[3];
        for (int64_t d = 0; d < work.width_k; d++) {
            s.q[r][d] = reinterpret_cast<const float *>(q)[d] * work.scale;
        }
        memset(s.sum[r], 0, work.width_v * sizeof(float));
        s.max[r]    = -INFINITY;
        s.weight[r] = 0.0f;
        slope[r]    = work.slope(at.head[r]);
        if (work.mask) {
            const ggml_tensor * m = work.mask;
            mask[r] = (const ggml_fp16_t *) ((const char *) m->data + at.token[r] * m->nb[1] +
                                             at.head[r] % m->ne[2] * m->nb[2] + at.stream % m->ne[3] * m->nb[3]);
        }
    }
    const char *  keys   = (const char *) work.k->data + at.head_kv * work.k->nb[2] + at.stream * work.k->nb[3];
    const char *  values = (const char *) work.v->data + at.head_kv * work.v->nb[2] + at.stream * work.v->nb[3];
    const int64_t end    = std::min(work.n_keys, (at.part + 1) * work.part_size);
    for (int64_t i = at.part * work.part_size; i < end; i += block) {
        const int n = (int) std::min<int64_t>(block, end - i);
        if (!add_mask(work, at, s, mask, slope, i, n, true)) {
            continue;
        }
        lc_attention::dots<R, T>(s, keys + i * work.k->nb[1], work.k->nb[1], n, (int) work.width_k);
        if (work.softcap != 0.0f) {
            for (int r = 0; r < R; r++) {
                for (int j = 0; j < n; j++) {
                    s.score[r][j] = work.softcap * tanhf(s.score[r][j]);
                }
            }
        }
        add_mask(work, at, s, mask, slope, i, n, false);
        soften(work, at, s, n);
        lc_attention::add_values<R, T>(s, values + i * work.v->nb[1], work.v->nb[1], n, (int) work.width_v);
    }
}

template <typename T> void attend(const job & work, const place & at, rows & s) {
    switch (at.n) {
        case 1: return attend<1, T>(work, at, s);
        case 2: return attend<2, T>(work, at, s);
        case 3: return attend<3, T>(work, at, s);
        default: return attend<4, T>(work, at, s);
    }
}

// Divides by the weight and writes the row of the result, after the attention sink, if the head has one.
void finish(const job & work, int64_t stream, int64_t head, int64_t token, float * sum, float max, float weight) {
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

float * partial_of(const job & work, void * room, int64_t stream, int64_t head, int64_t token, int64_t part) {
    const int64_t row = (stream * work.n_heads + head) * work.n_tokens + token;
    return (float *) room + (row * work.n_parts + part) * work.partial_size();
}

void run_unit(const job & work, void * room, int64_t unit, rows & s) {
    const place at(work, unit);
    if (work.k->type == GGML_TYPE_F16) {
        attend<uint16_t>(work, at, s);
    } else {
        attend<float>(work, at, s);
    }
    for (int r = 0; r < at.n; r++) {
        if (work.n_parts == 1) {
            finish(work, at.stream, at.head[r], at.token[r], s.sum[r], s.max[r], s.weight[r]);
        } else {
            float * out = partial_of(work, room, at.stream, at.head[r], at.token[r], at.part);
            out[0]      = s.max[r];
            out[1]      = s.weight[r];
            memcpy(out + 2, s.sum[r], work.width_v * sizeof(float));
        }
    }
}

// Puts the parts of one query together.
void join_parts(const job & work, void * room, int64_t row, float * sum) {
    const int64_t token  = row % work.n_tokens;
    const int64_t head   = row / work.n_tokens % work.n_heads;
    const int64_t stream = row / work.n_tokens / work.n_heads;
    float         max    = -INFINITY;
    for (int64_t part = 0; part < work.n_parts; part++) {
        max = std::max(max, partial_of(work, room, stream, head, token, part)[0]);
    }
    float weight = 0.0f;
    memset(sum, 0, work.width_v * sizeof(float));
    for (int64_t part = 0; part < work.n_parts && max != -INFINITY; part++) {
        const float * p      = partial_of(work, room, stream, head, token, part);
        const float   factor = expf(p[0] - max);
        weight += p[1] * factor;
        ggml_vec_mad_f32((int) work.width_v, sum, p + 2, factor);
    }
    finish(work, stream, head, token, sum, max, weight);
}

// Many queries: units of many_rows queries of one head.
int64_t n_many_units(const job & work) {
    return work.n_streams * work.n_heads * ((work.n_tokens + lc_attention::many_rows - 1) / lc_attention::many_rows);
}

// The first and the last key that a query may see.
std::pair<int64_t, int64_t> seen_keys(const ggml_fp16_t * mask, int64_t n_keys) {
    constexpr ggml_fp16_t forbidden = 0xFC00; // minus infinity
    if (!mask) {
        return { 0, n_keys };
    }
    int64_t begin = 0, end = n_keys;
    const ggml_fp16_t all[16] = { forbidden, forbidden, forbidden, forbidden, forbidden, forbidden, forbidden, forbidden,
                                  forbidden, forbidden, forbidden, forbidden, forbidden, forbidden, forbidden, forbidden };
    while (begin + 16 <= end && memcmp(mask + begin, all, sizeof(all)) == 0) {
        begin += 16;
    }
    while (end - 16 >= begin && memcmp(mask + end - 16, all, sizeof(all)) == 0) {
        end -= 16;
    }
    while (begin < end && mask[begin] == forbidden) {
        begin++;
    }
    while (end > begin && mask[end - 1] == forbidden) {
        end--;
    }
    return { begin, end };
}

// The queries of one unit: where they are, what they see.
struct many {
    const job & work;
    int64_t     head, stream, token;
    int         n;
    int64_t     begin, end; // of the keys that any of them sees

    many(const job & j, int64_t unit, lc_attention::tiles & t) : work(j) {
        const int64_t parts = (j.n_tokens + lc_attention::many_rows - 1) / lc_attention::many_rows;
        token               = unit % parts * lc_attention::many_rows;
        head                = unit / parts % j.n_heads;
        stream              = unit / parts / j.n_heads;
        n                   = (int) std::min<int64_t>(lc_attention::many_rows, j.n_tokens - token);
        begin               = j.n_keys;
        end                 = 0;
        for (int r = 0; r < n; r++) {
            const char * q = (const char *) j.q->data + (token + r) * j.q->nb[1] + head * j.q->nb[2] + stream * j.q->nb[3];
            for (int64_t d = 0; d < j.width_k; d++) {
                t.q[r * j.width_k + d] = reinterpret_cast<const float *>(q)[d] * j.scale;
            }
            std::tie(t.begin[r], t.end[r]) = seen_keys(mask_row(r), j.n_keys);
            t.max[r]                       = -INFINITY;
            t.weight[r]                    = 0.0f;
            begin                          = std::min(begin, t.begin[r]);
            end                            = std::max(end, t.end[r]);
        }
        std::fill(t.sum.begin(), t.sum.begin() + n * j.width_v, 0.0f);
    }

    const ggml_fp16_t * mask_row(int r) const {
        const ggml_tensor * m = work.mask;
        return m ? (const ggml_fp16_t *) ((const char *) m->data + (token + r) * m->nb[1] + head % m->ne[2] * m->nb[2] +
                                          stream % m->ne[3] * m->nb[3])
                 : nullptr;
    }
};

template <typename T> void attend_many(const many & m, lc_attention::tiles & t) {
    using namespace lc_attention;
    const job &   work    = m.work;
    const int64_t head_kv = m.head / work.heads_per_kv;
    const char *  keys    = (const char *) work.k->data + head_kv * work.k->nb[2] + m.stream * work.k->nb[3];
    const char *  values  = (const char *) work.v->data + head_kv * work.v->nb[2] + m.stream * work.v->nb[3];
    const int     width_k = (int) work.width_k, width_v = (int) work.width_v;
    const float   slope   = work.slope(m.head);
    for (int64_t at = m.begin; at < m.end; at += tile_keys) {
        const int n = (int) std::min<int64_t>(tile_keys, m.end - at);
        pack_keys<T>(t.keys.data(), keys + at * work.k->nb[1], work.k->nb[1], n, width_k);
        pack_values<T>(t.values.data(), values + at * work.v->nb[1], work.v->nb[1], n, width_v);
        for (int row = 0, rows; row < m.n; row += rows) {
            int64_t begin = t.begin[row], end = t.end[row];
            for (rows = 1; rows < tile_rows && row + rows < m.n && t.begin[row + rows] < end && begin < t.end[row + rows];
                 rows++) { // the next query sees some of the same keys
                begin = std::min(begin, t.begin[row + rows]);
                end   = std::max(end, t.end[row + rows]);
            }
            begin = std::max(begin, at);
            end   = std::min(end, at + n);
            if (begin < end) {
                attend_tile(t, row, rows, (int) (begin - at), (int) (end - begin), width_k, width_v, [&](int r) {
                    const ggml_fp16_t * mask = m.mask_row(r);
                    return std::pair(mask ? mask + begin : nullptr, slope);
                });
            }
        }
    }
}

void run_many(const job & work, int64_t unit, lc_attention::tiles & t) {
    t.reserve(work.width_k, work.width_v);
    const many m(work, unit, t);
    if (work.k->type == GGML_TYPE_F16) {
        attend_many<uint16_t>(m, t);
    } else {
        attend_many<float>(m, t);
    }
    for (int r = 0; r < m.n; r++) {
        finish(work, m.stream, m.head, m.token + r, t.sum.data() + r * work.width_v, t.max[r], t.weight[r]);
    }
}

} // namespace

#endif

void ggml_compute_forward_flash_attn_ext(const ggml_compute_params * params, ggml_tensor * dst) {
#ifdef LC_SIMD
    job work(dst);
    if (!params->use_ref && work.fits() && !work.few() && work.many()) {
        if (params->ith == 0) {
            ggml_threadpool_chunk_set(params->threadpool, params->nth);
        }
        ggml_barrier(params->threadpool);
        static thread_local lc_attention::tiles t;
        for (int64_t unit = params->ith; unit < n_many_units(work); unit = ggml_threadpool_chunk_add(params->threadpool, 1)) {
            run_many(work, unit, t);
        }
        return;
    }
    if (!params->use_ref && work.fits() && work.few()) {
        work.share_among(params->nth, params->wsize);
        if (params->ith == 0) {
            ggml_threadpool_chunk_set(params->threadpool, params->nth);
        }
        ggml_barrier(params->threadpool);

        rows          s;
        const int64_t n = work.n_units();
        for (int64_t unit = params->ith; unit < n; unit = ggml_threadpool_chunk_add(params->threadpool, 1)) {
            run_unit(work, params->wdata, unit, s);
        }
        if (work.n_parts > 1) {
            ggml_barrier(params->threadpool);
            for (int64_t row = params->ith; row < work.n_rows(); row += params->nth) {
                join_parts(work, params->wdata, row, s.sum[0]);
            }
        }
        return;
    }
#endif
    ggml_compute_forward_flash_attn_ext_as_published(params, dst);
}
