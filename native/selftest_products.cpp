// Computes products of quantised weights with llama.cpp's CPU code, through the graphs and the threads that a
// model uses, and compares with its own dot product of one row and one token.
#include "error.h"
#include "selftest_tensors.h"

#include <algorithm>
#include <cmath>
#include <limits>

extern "C" {
#include "engine.h"
#include "selftest.h"
}

using namespace lc_selftest;

namespace {

constexpr int n_used = 2; // experts of each token
constexpr int gap    = 8; // floats between rows that lie apart

void check(const lc_product_shape & s) {
    for (int32_t n : { s.n_in, s.n_out, s.n_tokens, s.n_streams, s.n_threads }) {
        if (n < 1 || n > 1 << 16) {
            throw std::invalid_argument("sizes of a product must be from 1 to 65536");
        }
    }
    const auto type = (ggml_type) s.type;
    if (s.type < 0 || s.type >= GGML_TYPE_COUNT || !ggml_is_quantized(type) ||
        !ggml_get_type_traits_cpu(type)->vec_dot || ggml_quantize_requires_imatrix(type)) {
        throw std::invalid_argument("type must be a type of weights that is quantised without an importance matrix");
    }
    if (s.n_in % ggml_blck_size(type) != 0) {
        throw std::invalid_argument("n_in must be a multiple of the type's block");
    }
    if (s.n_experts < 0 || s.n_experts == 1 || (s.n_experts > 0 && (s.n_streams > n_used || s.apart))) {
        throw std::invalid_argument("with experts, there must be two or more, n_streams 1 or 2, and no gaps");
    }
}

int64_t n_matrices(const lc_product_shape & s) { return std::max(1, s.n_experts); }

int32_t expert_of(const lc_product_shape & s, int64_t token, int64_t slot) {
    return (int32_t) ((token * 7 + slot) % s.n_experts);
}

// Numbers around zero, or as large as they get: inputs of 1, weights of 1 but for a few.
std::vector<float> numbers(const lc_product_shape & s, size_t n, uint32_t seed, bool weights) {
    if (!s.extreme) {
        return noise(n, seed);
    }
    std::vector<float> out(n, 1.0f);
    for (size_t i = 0; weights && i < n; i += 16) {
        out[i] = -1.0f;
    }
    return out;
}

std::vector<uint8_t> quantised(const lc_product_shape & s) {
    const auto           type = (ggml_type) s.type;
    const int64_t        rows = n_matrices(s) * s.n_out;
    std::vector<uint8_t> out(rows * ggml_row_size(type, s.n_in));
    ggml_quantize_chunk(type, numbers(s, rows * s.n_in, 1, true).data(), out.data(), 0, rows, s.n_in, nullptr);
    return out;
}

// The input's rows: [stream][token], or with experts [token][stream].
ggml_tensor * new_input(ggml_context * context, const lc_product_shape & s) {
    if (s.n_experts > 0) {
        return ggml_new_tensor_3d(context, GGML_TYPE_F32, s.n_in, s.n_streams, s.n_tokens);
    }
    return ggml_new_tensor_3d(context, GGML_TYPE_F32, s.n_in + (s.apart ? gap : 0), s.n_tokens, s.n_streams);
}

std::vector<float> computed(const lc_product_shape & s, const std::vector<uint8_t> & weights,
                            const std::vector<float> & rows) {
    context_ptr   context = new_context();
    ggml_tensor * w       = ggml_new_tensor_3d(context.get(), (ggml_type) s.type, s.n_in, s.n_out, n_matrices(s));
    ggml_tensor * all     = new_input(context.get(), s);
    ggml_tensor * x       = s.apart ? ggml_view_3d(context.get(), all, s.n_in, s.n_tokens, s.n_streams, all->nb[1],
                                                   all->nb[2], 0)
                                    : all;
    ggml_tensor * ids     = ggml_new_tensor_2d(context.get(), GGML_TYPE_I32, n_used, s.n_tokens);
    ggml_tensor * y       = s.n_experts > 0 ? ggml_mul_mat_id(context.get(), w, x, ids) : ggml_mul_mat(context.get(), w, x);
    ggml_cgraph * graph   = ggml_new_graph(context.get());
    ggml_build_forward_expand(graph, y);
    buffer_ptr buffer(ggml_backend_alloc_ctx_tensors_from_buft(context.get(), ggml_backend_cpu_buffer_type()));
    if (!buffer) {
        throw lc_exception("out_of_memory", "no memory for the product");
    }
    ggml_backend_tensor_set(w, weights.data(), 0, weights.size());
    ggml_backend_tensor_set(all, rows.data(), 0, ggml_nbytes(all));
    std::vector<int32_t> experts;
    for (int64_t i = 0; s.n_experts > 0 && i < (int64_t) s.n_tokens * n_used; i++) {
        experts.push_back(expert_of(s, i / n_used, i % n_used));
    }
    ggml_backend_tensor_set(ids, experts.data(), 0, experts.size() * sizeof(int32_t));
    backend_ptr backend(ggml_backend_cpu_init());
    ggml_backend_cpu_set_n_threads(backend.get(), s.n_threads);
    if (ggml_backend_graph_compute(backend.get(), graph) != GGML_STATUS_SUCCESS) {
        throw lc_exception("native", "the graph was not computed");
    }
    std::vector<float> out(ggml_nelements(y));
    ggml_backend_tensor_get(y, out.data(), 0, ggml_nbytes(y));
    return out;
}

double error_of(const lc_product_shape & s, float * results) {
    check(s);
    const auto *               traits  = ggml_get_type_traits_cpu((ggml_type) s.type);
    const std::vector<uint8_t> weights = quantised(s);
    const int64_t              stride  = s.n_in + (s.apart ? gap : 0);
    const std::vector<float>   rows    = numbers(s, s.n_tokens * s.n_streams * stride, 2, false);
    const std::vector<float>   output  = computed(s, weights, rows);
    if (results) {
        std::copy(output.begin(), output.end(), results);
    }
    const int64_t        slots = s.n_experts > 0 ? n_used : 1;
    std::vector<uint8_t> input(ggml_row_size(traits->vec_dot_type, s.n_in));
    double               worst = 0, size = 0;
    for (size_t row = 0; row * s.n_out < output.size(); row++) {
        const int64_t token = row / slots, slot = row % slots;
        const int64_t from   = s.n_experts > 0 ? token * s.n_streams + slot % s.n_streams : token;
        const int64_t matrix = s.n_experts > 0 ? expert_of(s, token, slot) : 0;
        ggml_get_type_traits_cpu(traits->vec_dot_type)->from_float(rows.data() + from * stride, input.data(), s.n_in);
        for (int64_t i = 0; i < s.n_out; i++) {
            float right = 0;
            traits->vec_dot(s.n_in, &right, 0,
                            weights.data() + (matrix * s.n_out + i) * ggml_row_size((ggml_type) s.type, s.n_in), 0,
                            input.data(), 0, 1);
            const double off = std::fabs((double) output[row * s.n_out + i] - right);
            worst            = off >= 0 ? std::max(worst, off) : std::numeric_limits<double>::infinity(); // not a number
            size += (double) right * right;
        }
    }
    return worst / std::sqrt(size / (double) output.size());
}

} // namespace

extern "C" double lc_selftest_product(const lc_product_shape * shape, float * output) {
    return lc_guard<double>(std::numeric_limits<double>::quiet_NaN(),
                            [&] { return (lc_init(), error_of(*shape, output)); });
}
