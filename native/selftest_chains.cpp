// Computes products of packed weights with what follows them in a graph, once as one and once step by step, and compares.
#include "error.h"
#include "selftest_tensors.h"

#include <cmath>
#include <limits>

#ifdef LLAMACPP_PACKED_PRODUCTS
#include "llama_cpp/encoders/packed.h"
#endif

extern "C" {
#include "engine.h"
#include "selftest.h"
}

using namespace lc_selftest;

namespace {

void check(const lc_chain_shape & s) {
    for (int32_t n : { s.n_in, s.n_out, s.n_tokens, s.n_products, s.n_threads }) {
        if (n < 1 || n > 1 << 14) {
            throw std::invalid_argument("sizes of a chain must be from 1 to 16384");
        }
    }
    if (s.n_in % 16 != 0 || s.n_products > 4 || s.form < 0 || s.form > 2) {
        throw std::invalid_argument("n_in must be a multiple of 16, n_products at most 4, and form from 0 to 2");
    }
}

// The graph of a chain: a normalisation, products, and what follows each of them.
struct chain_graph {
    context_ptr                context = new_context();
    buffer_ptr                 buffer;
    std::vector<ggml_tensor *> weights, inputs, outputs, between;
    ggml_tensor *              x;
    ggml_cgraph *              graph;
#ifdef LLAMACPP_PACKED_PRODUCTS
    lc_packed_weights packed;
#endif

    ggml_tensor * input(int64_t n, int64_t rows, ggml_type type = GGML_TYPE_F32) {
        inputs.push_back(ggml_new_tensor_2d(context.get(), type, n, rows));
        return inputs.back();
    }

    // One step of a chain, whose result nothing else reads.
    ggml_tensor * step(ggml_tensor * t) {
        between.push_back(t);
        return t;
    }

    chain_graph(const lc_chain_shape & s, bool apart) {
        ggml_context * c = context.get();
        x                = input(s.n_in, s.n_tokens);
        ggml_tensor * in = x;
        if (s.norm) {
            in = step(ggml_norm(c, in, 1e-5f));
            in = step(ggml_mul(c, in, input(s.n_in, 1)));
            in = step(ggml_add(c, in, input(s.n_in, 1)));
            between.pop_back(); // the products read it
            outputs.push_back(in);
        }
        graph = ggml_new_graph(c);
        for (int i = 0; i < s.n_products; i++) {
            weights.push_back(input(s.n_in, s.n_out, GGML_TYPE_F16));
            ggml_tensor * y = step(ggml_mul_mat(c, weights.back(), in));
            if (s.bias) {
                y = step(ggml_add(c, y, input(s.n_out, 1)));
            }
            if (s.gelu) {
                y = step(ggml_gelu(c, y));
            }
            if (s.residual) {
                y = step(ggml_add(c, y, input(s.n_out, s.n_tokens)));
            }
            between.pop_back();
            outputs.push_back(y);
            ggml_build_forward_expand(graph, ggml_reshape_1d(c, y, ggml_nelements(y))); // as attention does
        }
        for (ggml_tensor * t : between) {
            if (apart) {
                ggml_set_output(t);
            }
        }
        buffer.reset(ggml_backend_alloc_ctx_tensors_from_buft(c, ggml_backend_cpu_buffer_type()));
        if (!buffer) {
            throw lc_exception("out_of_memory", "no memory for the chain");
        }
        ggml_backend_buffer_clear(buffer.get(), 0xFF); // no numbers
        for (size_t i = 0; i < inputs.size(); i++) {
            const std::vector<float> values = noise(ggml_nelements(inputs[i]), (uint32_t) i + 1);
            if (inputs[i]->type == GGML_TYPE_F32) {
                ggml_backend_tensor_set(inputs[i], values.data(), 0, ggml_nbytes(inputs[i]));
            } else {
                std::vector<ggml_fp16_t> halves(values.size());
                ggml_fp32_to_fp16_row(values.data(), halves.data(), (int64_t) values.size());
                ggml_backend_tensor_set(inputs[i], halves.data(), 0, ggml_nbytes(inputs[i]));
            }
        }
#ifdef LLAMACPP_PACKED_PRODUCTS
        for (ggml_tensor * w : weights) {
            packed.add(w, (lc_encoders::form) s.form);
        }
#endif
        backend_ptr backend(ggml_backend_cpu_init());
        ggml_backend_cpu_set_n_threads(backend.get(), s.n_threads);
        if (ggml_backend_graph_compute(backend.get(), graph) != GGML_STATUS_SUCCESS) {
            throw lc_exception("native", "the graph was not computed");
        }
    }
};

std::vector<float> values_of(const ggml_tensor * t) {
    std::vector<float> out(ggml_nelements(t));
    ggml_backend_tensor_get(t, out.data(), 0, ggml_nbytes(t));
    return out;
}

double difference(const lc_chain_shape & s, int32_t * n_unwritten) {
    check(s);
    const chain_graph as_one(s, false), by_step(s, true);
    double            worst = 0, size = 0;
    for (size_t i = 0; i < as_one.outputs.size(); i++) {
        const std::vector<float> a = values_of(as_one.outputs[i]), b = values_of(by_step.outputs[i]);
        for (size_t j = 0; j < a.size(); j++) {
            const double off = std::fabs((double) a[j] - b[j]);
            worst            = off >= 0 ? std::max(worst, off) : std::numeric_limits<double>::infinity(); // not a number
            size             = std::max(size, (double) std::fabs(b[j]));
        }
    }
    *n_unwritten = 0;
    for (const ggml_tensor * t : as_one.between) {
        *n_unwritten += std::isnan(values_of(t)[0]);
    }
    return worst / size;
}

} // namespace

extern "C" double lc_selftest_chain(const lc_chain_shape * shape, int32_t * n_unwritten) {
    return lc_guard<double>(std::numeric_limits<double>::quiet_NaN(),
                            [&] { return (lc_init(), difference(*shape, n_unwritten)); });
}
