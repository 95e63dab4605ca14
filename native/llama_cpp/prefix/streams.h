// Copying the first cells of one request's part of the KV cache to another's, and noting what is alike since.
#pragma once

#include "alike.h"
#include "ggml-backend.h"
#include "ggml.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

// src and dst: all cells of a layer, of the same shape. transposed: the cells lie one beside the other in a row
// for each component, which is how values are kept without flash attention.
static void lc_copy_rows(ggml_tensor * src, ggml_tensor * dst, uint32_t n_rows, bool transposed) {
    const int64_t n_cells = src->ne[1];
    if (n_rows == 0) {
        return;
    }
    if (!transposed) {
        ggml_tensor from = *src;
        ggml_tensor to   = *dst;
        from.ne[1] = to.ne[1] = n_rows;
        ggml_backend_tensor_copy(&from, &to);
        return;
    }
    if (!ggml_backend_buffer_is_host(src->view_src->buffer) || !ggml_backend_buffer_is_host(dst->view_src->buffer)) {
        ggml_backend_tensor_copy(src, dst);
        return;
    }
    const size_t row  = ggml_row_size(src->type, n_cells);
    const size_t used = ggml_row_size(src->type, n_rows);
    for (int64_t i = 0; i < src->ne[0]; i++) {
        memcpy((char *) dst->data + i * row, (const char *) src->data + i * row, used);
    }
}

// The keys of the layers that are kept in the processor's memory have one table: that of the first will do.
template <typename Layers> const ggml_tensor * lc_noting(const Layers & layers) {
    for (const auto & layer : layers) {
        if (lc_alike_of(layer.k)) {
            return layer.k;
        }
    }
    return nullptr;
}

// Whether our attention computes all layers.
template <typename Layers> bool lc_attends(const Layers & layers) {
    return std::all_of(layers.begin(), layers.end(), [](const auto & layer) {
        return lc_alike_of(layer.k) && layer.k->type == layer.v->type &&
               (layer.k->type == GGML_TYPE_F16 || layer.k->type == GGML_TYPE_F32);
    });
}

template <typename Layers> void lc_note_change(const Layers & layers, uint32_t stream, uint32_t first) {
    lc_cells_change(lc_noting(layers), (int32_t) stream, (int32_t) first);
}

template <typename Layers> void lc_note_copied(const Layers & layers, uint32_t from, uint32_t to, uint32_t n) {
    lc_cells_copied(lc_noting(layers), (int32_t) from, (int32_t) to, (int32_t) n);
}
