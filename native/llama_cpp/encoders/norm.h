// Normalisation of rows with the weights and the bias that follow it, in one go.
#pragma once

#include "../attention/simd.h"
#include "ggml-impl.h"

#include <cmath>
#include <cstring>

#ifdef LC_SIMD

namespace lc_norm {

// y = (x - mean) / sqrt(variance + eps) * weight + bias: arXiv:1607.06450. Without a bias, null. y may be x.
inline void norm_row(float * y, const float * x, const float * weight, const float * bias, int64_t n, float eps) {
    using namespace lc_simd;
    const vec     one   = all(1.0f);
    const int64_t whole = n / width * width;
    vec           sums  = zero();
    float         rest  = 0.0f;
    for (int64_t i = 0; i < whole; i += width) {
        sums = fma(load(x + i), one, sums);
    }
    for (int64_t i = whole; i < n; i++) {
        rest += x[i];
    }
    const float mean  = (sum(sums) + rest) / (float) n;
    const vec   minus = all(-mean);
    sums              = zero();
    rest              = 0.0f;
    for (int64_t i = 0; i < whole; i += width) {
        const vec off = fma(minus, one, load(x + i));
        sums          = fma(off, off, sums);
    }
    for (int64_t i = whole; i < n; i++) {
        rest += (x[i] - mean) * (x[i] - mean);
    }
    const float scale = 1.0f / std::sqrt((sum(sums) + rest) / (float) n + eps);
    for (int64_t i = 0; i < whole; i += width) {
        const vec even = mul(fma(minus, one, load(x + i)), all(scale));
        store(y + i, fma(even, load(weight + i), bias ? load(bias + i) : zero()));
    }
    for (int64_t i = whole; i < n; i++) {
        y[i] = (x[i] - mean) * scale * weight[i] + (bias ? bias[i] : 0.0f);
    }
}

// A normalisation in a graph, and the nodes after it that are computed along.
struct norm {
    const ggml_tensor * x      = nullptr;
    ggml_tensor *       out    = nullptr;
    const ggml_tensor * weight = nullptr;
    const ggml_tensor * bias   = nullptr;
    float               eps    = 0.0f;
    int                 n_nodes = 0; // 0: it does not fit

    norm(const ggml_cgraph * graph, int node) {
        ggml_tensor * const * nodes = graph->nodes + node;
        if (!ggml_can_fuse(graph, node, { GGML_OP_NORM, GGML_OP_MUL })) {
            return;
        }
        const bool biased = ggml_can_fuse(graph, node, { GGML_OP_NORM, GGML_OP_MUL, GGML_OP_ADD });
        memcpy(&eps, nodes[0]->op_params, sizeof(eps));
        x                 = nodes[0]->src[0];
        weight            = nodes[1]->src[nodes[1]->src[0] == nodes[0]];
        if (!is_row(weight)) {
            return;
        }
        bias = biased ? nodes[2]->src[nodes[2]->src[0] == nodes[1]] : nullptr;
        if (bias && !is_row(bias)) {
            bias = nullptr;
        }
        out = nodes[bias ? 2 : 1];
        // rows side by side, in the same memory or in another
        const char *a = (const char *) out->data, *b = (const char *) x->data;
        const bool  apart = a + ggml_nbytes(out) <= b || b + ggml_nbytes(x) <= a;
        if (x->type == GGML_TYPE_F32 && out->type == GGML_TYPE_F32 && ggml_is_contiguous(x) && ggml_is_contiguous(out) &&
            (a == b || apart)) {
            n_nodes = bias ? 3 : 2;
        }
    }

    // Computes one row; returns it.
    const float * compute(int64_t row) const {
        const int64_t n = x->ne[0];
        float *       y = (float *) out->data + row * n;
        norm_row(y, (const float *) x->data + row * n, (const float *) weight->data,
                 bias ? (const float *) bias->data : nullptr, n, eps);
        return y;
    }

  private:
    bool is_row(const ggml_tensor * t) const {
        return t->type == GGML_TYPE_F32 && t->ne[0] == x->ne[0] && ggml_nrows(t) == 1 && ggml_is_contiguous(t);
    }
};

} // namespace lc_norm

#endif
