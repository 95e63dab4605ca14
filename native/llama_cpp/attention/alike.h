// Which streams of a KV cache begin alike, since the cells of one were copied to another: attention then reads those cells
// from one place for all of them, which is in the processor's caches after the first.
//
// A table of the cache says so for each stream. It is a tensor in the cache's own memory, and `extra` of the keys'
// tensors points at it. A stream's entry holds as long as neither stream's first cells were written to.
#pragma once

#include "ggml.h"

#include <algorithm>
#include <cstdint>

struct lc_alike {
    int32_t of; // the stream whose cells [0, n) are equal to this one's
    int32_t n;
};

// A table in which no streams begin alike; the memory of a cache is cleared before it is used.
inline ggml_tensor * lc_new_alike(ggml_context * ctx, int64_t n_streams) {
    return ggml_new_tensor_2d(ctx, GGML_TYPE_I32, 2, n_streams);
}

// The table of a tensor [width, cells, streams] of a cache, or null.
inline lc_alike * lc_alike_of(const ggml_tensor * cells) {
    const auto * table = cells && cells->ne[2] > 1 ? (const ggml_tensor *) cells->extra : nullptr;
    return table ? (lc_alike *) table->data : nullptr;
}

// The stream in whose memory the cells [0, end) of a stream are read.
inline int64_t lc_holder(const lc_alike * alike, int64_t stream, int64_t end) {
    while (alike[stream].n >= end) {
        stream = alike[stream].of;
    }
    return stream;
}

// A stream's cells from `first` on are about to change. Of those that began like it one takes its place for the others.
inline void lc_cells_change(const ggml_tensor * cells, int32_t stream, int32_t first) {
    lc_alike * alike = lc_alike_of(cells);
    if (!alike) {
        return;
    }
    alike[stream].n       = std::min(alike[stream].n, first);
    const int32_t n       = (int32_t) cells->ne[2];
    const auto    follows = [&](int32_t i) { return i != stream && alike[i].of == stream && alike[i].n > first; };
    int32_t       heir    = -1;
    for (int32_t i = 0; i < n; i++) {
        if (follows(i) && (heir < 0 || alike[i].n > alike[heir].n)) {
            heir = i;
        }
    }
    for (int32_t i = 0; i < n; i++) {
        if (i != heir && follows(i)) {
            alike[i].of = heir;
        }
    }
    if (heir >= 0) {
        alike[heir].n = first;
    }
}

// The first n cells of a stream were copied to another.
inline void lc_cells_copied(const ggml_tensor * cells, int32_t from, int32_t to, int32_t n) {
    lc_alike * alike = lc_alike_of(cells);
    if (!alike) {
        return;
    }
    lc_cells_change(cells, to, 0);
    alike[to] = alike[from].n >= n ? lc_alike{ alike[from].of, n } : lc_alike{ from, n };
}
