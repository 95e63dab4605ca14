// Attention of many queries: units of some queries of one head, each of which goes through tiles.h.
#pragma once

#include "job.h"
#include "tiles.h"

#include <tuple>
#include <utility>

#ifdef LC_SIMD_EXP

namespace lc_attention {

inline bool fits_many(const job & work) {
    return work.fits() && !work.few() && work.softcap == 0.0f && work.width_v % tile_width == 0;
}

inline int64_t n_many_units(const job & work) {
    return work.n_streams * work.n_heads * ((work.n_tokens + many_rows - 1) / many_rows);
}

// The first and the last key that a query may see.
inline std::pair<int64_t, int64_t> seen_keys(const ggml_fp16_t * mask, int64_t n_keys) {
    constexpr ggml_fp16_t forbidden = 0xFC00; // minus infinity
    if (!mask) {
        return { 0, n_keys };
    }
    int64_t begin = 0, end = n_keys;
    ggml_fp16_t all[16];
    std::fill(all, all + 16, forbidden);
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

    many(const job & j, int64_t unit, tiles & t) : work(j) {
        // All heads of some queries come one after another: they lie beside one another in memory, and see the same keys.
        const int64_t parts = (j.n_tokens + many_rows - 1) / many_rows;
        head                = unit % j.n_heads;
        token               = j.first + unit / j.n_heads % parts * many_rows;
        stream              = unit / j.n_heads / parts;
        n                   = (int) std::min<int64_t>(many_rows, j.first + j.n_tokens - token);
        begin               = j.n_keys;
        end                 = 0;
        const ggml_fp16_t * mask     = mask_row(0);
        const bool          is_known = mask && mask == t.mask;
        t.mask                       = mask;
        for (int r = 0; r < n; r++) {
            const char * q = (const char *) j.q->data + (token + r) * j.q->nb[1] + head * j.q->nb[2] + stream * j.q->nb[3];
            for (int64_t d = 0; d < j.width_k; d++) {
                t.q[r * j.width_k + d] = reinterpret_cast<const float *>(q)[d] * j.scale;
            }
            if (!is_known) {
                std::tie(t.begin[r], t.end[r]) = seen_keys(mask_row(r), j.n_keys);
            }
            t.max[r]                       = -INFINITY;
            t.weight[r]                    = 0.0f;
            if (t.begin[r] < t.end[r]) {
                begin = std::min(begin, t.begin[r]);
                end   = std::max(end, t.end[r]);
            }
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

template <typename T> void attend_many(const many & m, tiles & t) {
    const job &   work    = m.work;
    const int64_t head_kv = m.head / work.heads_per_kv;
    const char *  keys    = (const char *) work.k->data + head_kv * work.k->nb[2] + m.stream * work.k->nb[3];
    const char *  values  = (const char *) work.v->data + head_kv * work.v->nb[2] + m.stream * work.v->nb[3];
    const int     width_k = (int) work.width_k, width_v = (int) work.width_v;
    const float   slope   = work.slope(m.head);
    // In a cache a query's numbers must not depend on the others of its unit: tiles end at fixed keys, a key has its
    // place in a vector, and keys that a query may not see add exactly nothing.
    const bool    is_fixed = work.in_cache();
    const int64_t grid     = is_fixed ? lc_simd::width : 1;
    int64_t       next;
    for (int64_t at = is_fixed ? m.begin / tile_width * tile_width : m.begin; at < m.end; at = next) {
        next        = (is_fixed ? at / tile_keys * tile_keys : at) + tile_keys;
        const int n = (int) (std::min(next, m.end) - at);
        pack_keys<T>(t.keys.data(), keys + at * work.k->nb[1], work.k->nb[1], n, width_k);
        pack_values<T>(t.values.data(), values + at * work.v->nb[1], work.v->nb[1], n, width_v);
        for (int row = 0, rows; row < m.n; row += rows) {
            int64_t begin = t.begin[row], end = t.end[row];
            for (rows = 1; rows < tile_rows && row + rows < m.n && t.begin[row + rows] < end && begin < t.end[row + rows];
                 rows++) { // the next query sees some of the same keys
                begin = std::min(begin, t.begin[row + rows]);
                end   = std::max(end, t.end[row + rows]);
            }
            begin = std::max(begin, at) / grid * grid;
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

inline void run_many(const job & work, int64_t unit, tiles & t) {
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

} // namespace lc_attention

#endif
