// Flash attention on the CPU, for few queries at a time (decoding, one stream or many) and for the many of prompts and
// encoders.
//
// This is llama.cpp's ops.cpp with one function of ours in place of its
// ggml_compute_forward_flash_attn_ext(). Where ours does not fit (quantised caches, widths that
// are no multiple of a vector, an instruction set without vectors here), theirs is called.
//
// The kernels for few and for many round differently, so which of them computes a token must not depend on how a prompt
// is cut: that for many takes the whole tiles of a prompt's tokens, that for few the rest. A prompt that is read from a
// multiple of the tile on then has the same numbers as one that is read from its start.
#include "ggml-cpu/vec.h"

#include "gelu.h" // in place of vec.h's in what follows

#define ggml_compute_forward_flash_attn_ext ggml_compute_forward_flash_attn_ext_as_published
#include "ggml-cpu/ops.cpp"
#undef ggml_compute_forward_flash_attn_ext

#include "many.h"

extern "C" void ggml_compute_forward_flash_attn_ext(const ggml_compute_params * params, ggml_tensor * dst);

#ifdef LC_SIMD

namespace {

using lc_attention::block;
using lc_attention::job;
using lc_attention::max_rows;
using lc_attention::rows;

// Which queries a unit has, and where they are.
struct place {
    int64_t stream, head_kv;
    int64_t first_part, last_part;
    int     n; // queries
    int64_t head[max_rows], token[max_rows];

    place(const job & work, int64_t unit) {
        const auto next = [&unit](int64_t n) {
            const int64_t i = unit % n;
            unit /= n;
            return i;
        };
        const int64_t its_tile = next(work.n_tiles);
        if (work.is_cut && work.alike) {
            // the same keys for one stream after another
            stream     = next(work.n_streams);
            head_kv    = next(work.n_heads_kv);
            first_part = next(work.n_parts);
        } else {
            // all heads of a part of the keys come one after another: they lie beside one another in memory
            head_kv    = next(work.n_heads_kv);
            first_part = next(work.is_cut ? work.n_parts : 1);
            stream     = next(work.n_streams);
        }
        last_part = work.is_cut ? first_part : work.n_parts - 1;
        const int64_t all = work.heads_per_kv * work.n_tokens;
        n                 = (int) std::min<int64_t>(max_rows, all - its_tile * max_rows);
        for (int r = 0; r < n; r++) {
            const int64_t row = its_tile * max_rows + r;
            head[r]           = head_kv * work.heads_per_kv + row % work.heads_per_kv;
            token[r]          = work.first + row / work.heads_per_kv;
        }
    }
};

// Up to four queries: where their masks are, and the slopes.
struct masks {
    const ggml_fp16_t * row[max_rows]   = {};
    float               slope[max_rows] = {};

    masks(const job & work, const place & at) {
        for (int r = 0; r < at.n; r++) {
            slope[r] = work.slope(at.head[r]);
            if (const ggml_tensor * m = work.mask) {
                row[r] = (const ggml_fp16_t *) ((const char *) m->data + at.token[r] * m->nb[1] +
                                                at.head[r] % m->ne[2] * m->nb[2] + at.stream % m->ne[3] * m->nb[3]);
            }
        }
    }
};

// Whether any of the queries may see any key of a block.
bool sees_any(const job & work, const place & at, const masks & mask, int64_t first, int n) {
    if (!work.mask) {
        return true;
    }
    for (int r = 0; r < at.n; r++) {
        for (int j = 0; j < n; j++) {
            if (mask.row[r][first + j] != 0xFC00) { // minus infinity
                return true;
            }
        }
    }
    return false;
}

// Turns the block's scores into exp(score + mask - max), and what was added up before to the new maximum.
void soften(const job & work, const place & at, rows & s, const masks & mask, int64_t first, int n) {
    for (int r = 0; r < at.n; r++) {
        const uint16_t * its_mask = mask.row[r] ? mask.row[r] + first : nullptr;
        const float max = std::max(s.max[r], lc_attention::add_mask_row(s.score[r], its_mask, mask.slope[r], n));
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
        s.weight[r] += lc_attention::exp_row(s.score[r], max, n);
    }
}

void load_queries(const job & work, const place & at, rows & s) {
    for (int r = 0; r < at.n; r++) {
        const char * q = (const char *) work.q->data + at.token[r] * work.q->nb[1] + at.head[r] * work.q->nb[2] +
                         at.stream * work.q->nb[3];
        for (int64_t d = 0; d < work.width_k; d++) {
            s.q[r][d] = reinterpret_cast<const float *>(q)[d] * work.scale;
        }
    }
}

// Adds up over the keys [begin, end).
template <int R, typename T>
void attend(const job & work, const place & at, const masks & mask, rows & s, int64_t begin, int64_t end) {
    s.clear(R, work.width_v);
    const int64_t held   = work.holder(at.stream, end);
    const char *  keys   = (const char *) work.k->data + at.head_kv * work.k->nb[2] + held * (int64_t) work.k->nb[3];
    const char *  values = (const char *) work.v->data + at.head_kv * work.v->nb[2] + held * (int64_t) work.v->nb[3];
    for (int64_t i = begin; i < end; i += block) {
        const int n = (int) std::min<int64_t>(block, end - i);
        if (!sees_any(work, at, mask, i, n)) {
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
        soften(work, at, s, mask, i, n);
        lc_attention::add_values<R, T>(s, values + i * work.v->nb[1], work.v->nb[1], n, (int) work.width_v);
    }
}

// The parts of a unit one after another; their sums together are in s.before.
template <int R, typename T> void attend(const job & work, const place & at, rows & s) {
    const masks mask(work, at);
    load_queries(work, at, s);
    s.before.clear(R, work.width_v);
    for (int64_t part = at.first_part; part <= at.last_part; part++) {
        const int64_t end = std::min(work.n_keys, lc_attention::part_begin(part + 1));
        attend<R, T>(work, at, mask, s, lc_attention::part_begin(part), end);
        for (int r = 0; r < R; r++) {
            lc_attention::add_part(s.before.sum[r], s.before.max[r], s.before.weight[r], s.sum[r], s.max[r], s.weight[r],
                                   (int) work.width_v);
        }
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

float * partial_of(const job & work, void * room, int64_t stream, int64_t head, int64_t token, int64_t part) {
    const int64_t row = (stream * work.n_heads + head) * work.n_tokens + token - work.first;
    return (float *) room + (row * work.n_parts + part) * work.partial_size();
}

void run_unit(const job & work, void * room, int64_t unit, rows & s) {
    const place at(work, unit);
    if (work.k->type == GGML_TYPE_F16) {
        attend<uint16_t>(work, at, s);
    } else {
        attend<float>(work, at, s);
    }
    lc_attention::sums & got = s.before;
    for (int r = 0; r < at.n; r++) {
        if (!work.is_cut) {
            finish(work, at.stream, at.head[r], at.token[r], got.sum[r], got.max[r], got.weight[r]);
        } else {
            float * out = partial_of(work, room, at.stream, at.head[r], at.token[r], at.first_part);
            out[0]      = got.max[r];
            out[1]      = got.weight[r];
            memcpy(out + 2, got.sum[r], work.width_v * sizeof(float));
        }
    }
}

// Puts the parts of one query together, in the order in which one unit would have gone through them.
void join_parts(const job & work, void * room, int64_t row, float * sum) {
    const int64_t token  = work.first + row % work.n_tokens;
    const int64_t head   = row / work.n_tokens % work.n_heads;
    const int64_t stream = row / work.n_tokens / work.n_heads;
    float         max = -INFINITY, weight = 0.0f;
    memset(sum, 0, work.width_v * sizeof(float));
    for (int64_t part = 0; part < work.n_parts; part++) {
        const float * p = partial_of(work, room, stream, head, token, part);
        lc_attention::add_part(sum, max, weight, p + 2, p[0], p[1], (int) work.width_v);
    }
    finish(work, stream, head, token, sum, max, weight);
}

template <typename Compute> void in_chunks(const ggml_compute_params * params, int64_t n, Compute compute) {
    if (params->ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    ggml_barrier(params->threadpool);
    for (int64_t unit = params->ith; unit < n; unit = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        compute(unit);
    }
}

// The rest of a prompt, or one token of each stream.
void compute_few(const ggml_compute_params * params, job work) {
    work.cut_keys(params->wsize);
    rows s;
    in_chunks(params, work.n_units(), [&](int64_t unit) { run_unit(work, params->wdata, unit, s); });
    if (work.is_cut) {
        ggml_barrier(params->threadpool);
        for (int64_t row = params->ith; row < work.n_rows(); row += params->nth) {
            join_parts(work, params->wdata, row, s.sum[0]);
        }
    }
}

// The first tokens of each stream through llama.cpp's own function.
void compute_tiles_as_published(const ggml_compute_params * params, const job & work) {
    const auto view = [](const ggml_tensor * whole, int64_t stream) {
        ggml_tensor one = *whole;
        one.data        = (char *) whole->data + stream % whole->ne[3] * whole->nb[3];
        one.ne[3]       = 1;
        return one;
    };
    for (int64_t stream = 0; stream < work.n_streams; stream++) {
        ggml_tensor q = view(work.q, stream), k = view(work.k, stream), v = view(work.v, stream);
        ggml_tensor dst = view(work.dst, stream), mask;
        q.ne[1] = dst.ne[2] = work.n_tokens;
        dst.src[0]          = &q;
        dst.src[1]          = &k;
        dst.src[2]          = &v;
        if (work.mask) {
            mask       = view(work.mask, stream);
            dst.src[3] = &mask;
        }
        ggml_compute_forward_flash_attn_ext_as_published(params, &dst);
        ggml_barrier(params->threadpool);
    }
}

bool goes_to_many(const job & work) {
#    ifdef LC_SIMD_EXP
    return lc_attention::fits_many(work);
#    else
    return false;
#    endif
}

// The first tokens of each stream, a number of whole tiles.
void compute_tiles(const ggml_compute_params * params, const job & work) {
    if (!goes_to_many(work)) {
        return compute_tiles_as_published(params, work);
    }
#    ifdef LC_SIMD_EXP
    static thread_local lc_attention::tiles t;
    t.mask = nullptr; // what it says now is not known
    in_chunks(params, lc_attention::n_many_units(work), [&](int64_t unit) { lc_attention::run_many(work, unit, t); });
#    endif
}

} // namespace

#endif

// Bytes that units of their own for the parts of the keys need, where requests are decoded together.
extern "C" size_t lc_attention_room(ggml_tensor * dst) {
#ifdef LC_SIMD
    const job work(dst, 0, dst->src[0]->ne[1]);
    return work.alike && work.n_tokens <= 4 ? work.partials_size() : 0;
#else
    (void) dst;
    return 0;
#endif
}

void ggml_compute_forward_flash_attn_ext(const ggml_compute_params * params, ggml_tensor * dst) {
#ifdef LC_SIMD
    const int64_t n_tokens = dst->src[0]->ne[1];
    const job     all(dst, 0, n_tokens);
    if (params->use_ref || !all.fits()) {
        return ggml_compute_forward_flash_attn_ext_as_published(params, dst);
    }
    const int64_t whole = all.in_cache() || !goes_to_many(all) ? lc_attention::whole_tiles(n_tokens) : n_tokens;
    if (whole > 0) {
        compute_tiles(params, job(dst, 0, whole));
        ggml_barrier(params->threadpool);
    }
    if (whole < n_tokens) {
        compute_few(params, job(dst, whole, n_tokens));
    }
#else
    ggml_compute_forward_flash_attn_ext_as_published(params, dst);
#endif
}
