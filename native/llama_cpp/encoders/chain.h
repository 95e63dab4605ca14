// A product of packed weights and what a graph computes of it right after, found so that it is computed at once: a bias
// that is added, GELU, what the result is added to. Up to three such products of the same inputs (the queries, keys and
// values of attention) share the integers that are made of these.
//
// Nothing reads what lies between; it stays unwritten. Results are the same to the bit as those of one step after the
// other.
#pragma once

#include "layout.h"

#ifdef LC_PACKED_PRODUCTS

#    include "ggml-cpu/vec.h"
#    include "ggml-impl.h"

#    include "../attention/gelu.h" // in place of vec.h's

namespace lc_encoders {

// Rows of single precision, wherever in a tensor they lie.
class tensor_rows {
  public:
    explicit tensor_rows(const ggml_tensor * tensor)
        : t(tensor),
          flat(t->nb[2] == t->nb[1] * t->ne[1] && t->nb[3] == t->nb[2] * t->ne[2]) {}

    float * operator()(int64_t row) const {
        if (flat) {
            return reinterpret_cast<float *>((char *) t->data + row * t->nb[1]);
        }
        const int64_t i1 = row % t->ne[1], i2 = row / t->ne[1] % t->ne[2], i3 = row / t->ne[1] / t->ne[2];
        return reinterpret_cast<float *>((char *) t->data + i1 * t->nb[1] + i2 * t->nb[2] + i3 * t->nb[3]);
    }

  private:
    const ggml_tensor * t;
    bool                flat;
};

// The packed weights of a product that fits; null if it does not, or the weights are not packed.
const weights * packed_of(const ggml_tensor * op);

struct chain {
    const weights *     w;
    const ggml_tensor * x;                  // the inputs
    ggml_tensor *       out;                // the last result, which is written
    int                 last;               // its node
    const ggml_tensor * bias     = nullptr; // one row, added to all
    bool                gelu     = false;
    const ggml_tensor * residual = nullptr; // added at the end
};

// What becomes of the results of a product.
class finish {
  public:
    explicit finish(const chain & c)
        : out(c.out),
          residual(c.residual ? c.residual : c.out),
          bias(c.bias ? (const float *) c.bias->data : nullptr),
          gelu(c.gelu),
          adds(c.residual) {}

    void operator()(int64_t row, int64_t first, int n, floats low, floats high) const {
        float * to = out(row) + first;
        if (n < panel) {
            alignas(64) float room[panel];
            store(room, low);
            store(room + lanes, high);
            return put_some(to, room, row, first, n);
        }
        if (bias) {
            low  = add(low, load(bias + first));
            high = add(high, load(bias + first + lanes));
        }
        if (gelu) {
            low  = lc_gelu(low);
            high = lc_gelu(high);
        }
        if (adds) {
            const float * more = residual(row) + first;
            low                = add(low, load(more));
            high               = add(high, load(more + lanes));
        }
        store(to, low);
        store(to + lanes, high);
    }

  private:
    // The last outputs of a row, fewer than a panel.
    void put_some(float * to, float * room, int64_t row, int64_t first, int n) const {
        for (int i = 0; bias && i < n; i++) {
            room[i] += bias[first + i];
        }
        if (gelu) {
            ggml_vec_gelu_f32(n, room, room);
        }
        const float * more = residual(row) + first;
        for (int i = 0; i < n; i++) {
            to[i] = adds ? room[i] + more[i] : room[i];
        }
    }

    tensor_rows   out, residual;
    const float * bias;
    bool          gelu, adds;
};

inline bool has_float_rows(const ggml_tensor * t) { return t->type == GGML_TYPE_F32 && t->nb[0] == sizeof(float); }

// Whether `out` may be written row by row while `in` is read: each value at its own place, or at another place altogether.
inline bool may_be_written(const ggml_tensor * out, const ggml_tensor * in) {
    if (out->data == in->data) {
        return ggml_are_same_shape(out, in) && ggml_are_same_stride(out, in);
    }
    const char *a = (const char *) out->data, *b = (const char *) in->data;
    return a + ggml_nbytes(out) <= b || b + ggml_nbytes(in) <= a;
}

// Takes in the node after the last, if it can be computed along.
inline bool extend(chain & c, const ggml_cgraph * graph) {
    const int next = c.last + 1;
    if (next >= graph->n_nodes) {
        return false;
    }
    ggml_tensor * node = graph->nodes[next];
    if (!has_float_rows(node) || !ggml_can_fuse(graph, c.last, { c.out->op, node->op })) {
        return false;
    }
    if (node->op == GGML_OP_ADD) {
        const ggml_tensor * other = node->src[node->src[0] == c.out];
        if (c.residual || !has_float_rows(other) || !may_be_written(node, other)) {
            return false;
        }
        if (!c.bias && !c.gelu && other->op == GGML_OP_NONE && ggml_nrows(other) == 1 && other->ne[0] == node->ne[0]) {
            c.bias = other;
        } else if (ggml_are_same_shape(node, other)) {
            c.residual = other;
        } else {
            return false;
        }
    } else if (node->op == GGML_OP_UNARY && ggml_get_unary_op(node) == GGML_UNARY_OP_GELU && !c.gelu && !c.residual) {
        c.gelu = true;
    } else {
        return false;
    }
    c.out  = node;
    c.last = next;
    return true;
}

// Chains of the same inputs, one after another in the graph.
struct chains {
    static constexpr int most = 3;

    chain each[most];
    int   n = 0;

    int last() const { return each[n - 1].last; }

    chains(const ggml_cgraph * graph, int node) {
        while (n < most && add(graph, node)) {
            for (node = last() + 1; node < graph->n_nodes && ggml_op_is_empty(graph->nodes[node]->op);) {
                node++;
            }
        }
    }

  private:
    static bool have_same_inputs(const weights & a, const weights & b) {
        return a.as == b.as && !a.factors && !b.factors;
    }

    bool add(const ggml_cgraph * graph, int node) {
        if (node >= graph->n_nodes || !(graph->nodes[node]->flags & GGML_TENSOR_FLAG_COMPUTE) ||
            ggml_is_empty(graph->nodes[node])) {
            return false;
        }
        ggml_tensor *   product = graph->nodes[node];
        const weights * w       = packed_of(product);
        if (!w || (n > 0 && (product->src[1] != each[0].x || each[0].residual || !have_same_inputs(*w, *each[0].w)))) {
            return false;
        }
        chain found = { w, product->src[1], product, node };
        while (extend(found, graph)) {
        }
        if (n > 0 && found.residual) { // it may be the result of one before
            return false;
        }
        each[n++] = found;
        return true;
    }
};

} // namespace lc_encoders

#endif
