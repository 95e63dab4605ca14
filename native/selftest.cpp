// Multiplies small matrices with llama.cpp's CPU code, through the graphs, the threads and the buffers that a
// model uses, and compares with plain arithmetic on the dequantised weights.
#include "error.h"
#include "selftest_tensors.h"

#ifdef LLAMACPP_PACKED_PRODUCTS
#include "llama_cpp/encoders/packed.h"
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

extern "C" {
#include "engine.h"
#include "selftest.h"
}

using namespace lc_selftest;

namespace {

// Weights of two blocks of 256, the longest there are. 96 outputs are one wide and one narrow step of the AMX
// code, and whole groups of each of the repacked layouts.
constexpr int64_t n_in      = 512;
constexpr int64_t n_out     = 96;
constexpr int64_t n_experts = 2;
// One row is what decoding multiplies; the others fill one tile of 16 rows, not quite one, and one and several more.
// The last is more than two of the groups of packed products.
constexpr int64_t rows_to_try[] = { 1, 3, 8, 16, 25, 40, 101 };

struct product {
    ggml_type                  type;
    ggml_backend_buffer_type_t memory; // where the weights lie
    std::string                name;
    bool                       packed = false; // whether they are packed as those of encoders are
#ifdef LLAMACPP_PACKED_PRODUCTS
    lc_encoders::form form = lc_encoders::form::words;
#endif
};

ggml_backend_dev_t cpu() { return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU); }

// As llama.cpp asks before it puts a weight into a kind of memory.
bool fits(ggml_type type, ggml_backend_buffer_type_t memory, bool experts) {
    context_ptr   context = new_context();
    ggml_tensor * w       = ggml_new_tensor_3d(context.get(), type, n_in, n_out, experts ? n_experts : 1);
    ggml_tensor * x       = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, n_in, 1, 1);
    ggml_tensor * ids     = ggml_new_tensor_2d(context.get(), GGML_TYPE_I32, 1, 1);
    ggml_tensor * y       = experts ? ggml_mul_mat_id(context.get(), w, x, ids) : ggml_mul_mat(context.get(), w, x);
    buffer_ptr    empty(ggml_backend_buft_alloc_buffer(memory, 0));
    w->buffer        = empty.get();
    const bool works = ggml_backend_dev_supports_op(cpu(), y);
    w->buffer        = nullptr;
    return works;
}

std::vector<product> find_products() {
    std::vector<ggml_backend_buffer_type_t> memories = { ggml_backend_cpu_buffer_type() };
    auto *                                  extra    = (ggml_backend_dev_get_extra_bufts_t) ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(cpu()), "ggml_backend_dev_get_extra_bufts");
    for (auto * memory = extra ? extra(cpu()) : nullptr; memory && *memory; memory++) {
        memories.push_back(*memory);
    }
    std::vector<product> found;
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const auto type = (ggml_type) i;
        if (!ggml_get_type_traits_cpu(type)->vec_dot || ggml_blck_size(type) == 0 || n_in % ggml_blck_size(type) ||
            (type != GGML_TYPE_F32 && !ggml_get_type_traits(type)->to_float)) {
            continue; // no type of weights
        }
        for (ggml_backend_buffer_type_t memory : memories) {
            if (fits(type, memory, false)) {
                found.push_back({ type, memory, std::string(ggml_type_name(type)) + " in " + ggml_backend_buft_name(memory) + " memory" });
            }
        }
#ifdef LLAMACPP_PACKED_PRODUCTS
        if (lc_packed_weights::can_pack(type)) {
            for (const lc_encoders::form form : lc_encoders::all_forms) {
                if (lc_packed_weights::has(form)) {
                    const std::string how = std::string(" packed as ") + lc_encoders::name_of(form);
                    found.push_back({ type, memories[0], ggml_type_name(type) + how, true, form });
                }
            }
        }
#endif
    }
    return found;
}

const std::vector<product> & products() {
    static const std::vector<product> all = (lc_init(), find_products());
    return all;
}

std::vector<float> dequantised(ggml_type type, const uint8_t * data, size_t n) {
    std::vector<float> out(n);
    if (type == GGML_TYPE_F32) {
        memcpy(out.data(), data, n * sizeof(float));
    } else {
        ggml_get_type_traits(type)->to_float(data, out.data(), (int64_t) n);
    }
    return out;
}

// Before it quantises to one of these, llama.cpp searches its grid of values for seconds.
bool is_slow_to_quantise(ggml_type type) {
    const std::string name = ggml_type_name(type);
    return name.rfind("iq1", 0) == 0 || name.rfind("iq2", 0) == 0 || name.rfind("iq3", 0) == 0;
}

// Blocks of random bits: all of them are weights, but for scales that are no numbers or far from the others.
std::vector<uint8_t> random_blocks(ggml_type type, size_t n) {
    const size_t         block = ggml_type_size(type);
    std::vector<uint8_t> out(n / ggml_blck_size(type) * block);
    uint32_t             seed = 3;
    for (auto at = out.begin(); at != out.end(); at += block) {
        float greatest;
        do {
            std::generate(at, at + block, [&] { return (uint8_t) ((seed = seed * 1664525u + 1013904223u) >> 24); });
            greatest = 0;
            for (const float value : dequantised(type, &*at, ggml_blck_size(type))) {
                greatest = std::isnan(value) ? INFINITY : std::max(greatest, std::fabs(value));
            }
        } while (!(greatest > 0.5f && greatest < 4.0f));
    }
    return out;
}

std::vector<uint8_t> quantised(ggml_type type, size_t n) {
    if (is_slow_to_quantise(type)) {
        return random_blocks(type, n);
    }
    std::vector<uint8_t> out(ggml_row_size(type, n_in) * (n / n_in));
    ggml_quantize_chunk(type, noise(n, 1).data(), out.data(), 0, (int64_t) n / n_in, n_in, nullptr);
    return out;
}

double error_of(const std::vector<float> & y, const std::vector<float> & w, const std::vector<float> & x,
                const std::vector<int32_t> & experts) {
    double difference = 0, size = 0;
    for (size_t row = 0; row < experts.size(); row++) {
        for (int64_t out = 0; out < n_out; out++) {
            const float * weight = w.data() + (experts[row] * n_out + out) * n_in;
            double        sum    = 0;
            for (int64_t i = 0; i < n_in; i++) {
                sum += (double) weight[i] * x[row * n_in + i];
            }
            const double off = y[row * n_out + out] - sum;
            difference += off * off;
            size += sum * sum;
        }
    }
    return difference / size;
}

struct weights {
    context_ptr        context = new_context();
    buffer_ptr         buffer;
    ggml_tensor *      tensor;
    std::vector<float> values; // as the type holds them
#ifdef LLAMACPP_PACKED_PRODUCTS
    lc_packed_weights packed;
#endif

    weights(const product & p, bool experts) {
        const int64_t              n    = experts ? n_experts : 1;
        const std::vector<uint8_t> data = quantised(p.type, n * n_out * n_in);
        values                          = dequantised(p.type, data.data(), n * n_out * n_in);
        tensor                          = ggml_new_tensor_3d(context.get(), p.type, n_in, n_out, n);
        buffer.reset(ggml_backend_alloc_ctx_tensors_from_buft(context.get(), p.memory));
        if (!buffer) {
            throw lc_exception("out_of_memory", "no memory for a matrix of " + p.name);
        }
        ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        ggml_backend_tensor_set(tensor, data.data(), 0, data.size());
#ifdef LLAMACPP_PACKED_PRODUCTS
        if (p.packed) {
            packed.add(tensor, p.form);
            if (packed.size() == 0) {
                throw lc_exception("native", "the weights of " + p.name + " were not packed");
            }
        }
#endif
    }
};

double error_with(ggml_backend_t backend, const weights & w, int64_t n_rows) {
    const bool           experts = w.tensor->ne[2] > 1;
    std::vector<int32_t> expert(n_rows, 0);
    for (int64_t row = 0; experts && row < n_rows; row++) {
        expert[row] = (int32_t) (row * 7 % n_experts);
    }
    context_ptr   context = new_context();
    ggml_tensor * ids     = ggml_new_tensor_2d(context.get(), GGML_TYPE_I32, 1, n_rows);
    ggml_tensor * x       = experts ? ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, n_in, 1, n_rows) : ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, n_in, n_rows);
    ggml_tensor * y       = experts ? ggml_mul_mat_id(context.get(), w.tensor, x, ids) : ggml_mul_mat(context.get(), w.tensor, x);
    ggml_cgraph * graph   = ggml_new_graph(context.get());
    ggml_build_forward_expand(graph, y);
    buffer_ptr               buffer(ggml_backend_alloc_ctx_tensors_from_buft(context.get(), ggml_backend_cpu_buffer_type()));
    const std::vector<float> input = noise(n_rows * n_in, 2);
    ggml_backend_tensor_set(x, input.data(), 0, ggml_nbytes(x));
    ggml_backend_tensor_set(ids, expert.data(), 0, ggml_nbytes(ids));
    if (ggml_backend_graph_compute(backend, graph) != GGML_STATUS_SUCCESS) {
        throw lc_exception("native", "the graph was not computed");
    }
    std::vector<float> output(n_rows * n_out);
    ggml_backend_tensor_get(y, output.data(), 0, ggml_nbytes(y));
    return error_of(output, w.values, input, expert);
}

double run(const product & p) {
    backend_ptr backend(ggml_backend_cpu_init());
    ggml_backend_cpu_set_n_threads(backend.get(), 2);
    double worst = 0;
    for (const bool experts : { false, true }) {
        if (experts && (p.packed || !fits(p.type, p.memory, true))) {
            continue;
        }
        const weights w(p, experts);
        for (const int64_t n_rows : rows_to_try) {
            const double error = error_with(backend.get(), w, n_rows);
            worst              = error >= 0 ? std::max(worst, error) : std::numeric_limits<double>::infinity(); // not a number
        }
    }
    return worst;
}

const product & at(int32_t index) {
    if (index < 0 || (size_t) index >= products().size()) {
        throw std::invalid_argument("there is no such product");
    }
    return products()[index];
}

} // namespace

extern "C" {

int32_t lc_selftest_count(void) {
    return lc_guard<int32_t>(0, [] { return (int32_t) products().size(); });
}

const char * lc_selftest_name(int32_t index) {
    return lc_guard<const char *>(nullptr, [&] { return at(index).name.c_str(); });
}

double lc_selftest_run(int32_t index) {
    return lc_guard<double>(std::numeric_limits<double>::quiet_NaN(), [&] { return run(at(index)); });
}
}
