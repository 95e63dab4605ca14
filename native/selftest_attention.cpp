// Computes attention with llama.cpp's CPU code, through the graphs and the threads that a model uses, and
// compares with plain arithmetic in double precision.
#include "error.h"
#include "llama_cpp/attention/alike.h"
#include "selftest_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

extern "C" {
#include "engine.h"
#include "selftest.h"
}

using namespace lc_selftest;

namespace {

// The inputs as the graph sees them, widened to floats: [stream][head][token or key][width].
struct inputs {
    std::vector<float> q, k, v;
    std::vector<float> mask;  // [token][key], empty without one
    std::vector<float> sinks; // [head], empty without them
};

void check(const lc_attention_shape & s) {
    for (int32_t n : { s.width_k, s.width_v, s.n_keys, s.n_tokens, s.n_heads, s.n_heads_kv, s.n_streams, s.n_threads }) {
        if (n < 1 || n > 1 << 16) {
            throw std::invalid_argument("sizes of an attention must be from 1 to 65536");
        }
    }
    if (s.n_heads % s.n_heads_kv != 0 || s.window < 0) {
        throw std::invalid_argument("n_heads must be a multiple of n_heads_kv, and window at least 0");
    }
    if (s.alike < 0 || s.alike > s.n_keys) {
        throw std::invalid_argument("alike must be from 0 to n_keys");
    }
    if (s.max_bias != 0.0f && s.window == 0) {
        throw std::invalid_argument("max_bias needs a mask: set window");
    }
}

// The mask is what a model's is: minus infinity for what a query must not see, else minus the distance with
// ALiBi, else zero. Query i is at key n_keys - n_tokens + i, and sees the last `window` keys up to there.
std::vector<float> make_mask(const lc_attention_shape & s) {
    std::vector<float> mask;
    for (int32_t i = 0; s.window > 0 && i < s.n_tokens; i++) {
        const int32_t here = std::max(0, s.n_keys - s.n_tokens + i);
        for (int32_t j = 0; j < s.n_keys; j++) {
            const bool seen = j <= here && j > here - s.window;
            mask.push_back(seen ? (s.max_bias > 0 ? (float) (j - here) : 0.0f) : -INFINITY);
        }
    }
    return mask;
}

std::vector<ggml_fp16_t> halves(const std::vector<float> & values) {
    std::vector<ggml_fp16_t> out(values.size());
    ggml_fp32_to_fp16_row(values.data(), out.data(), (int64_t) values.size());
    return out;
}

void set(ggml_tensor * tensor, std::vector<float> & values) {
    if (tensor->type == GGML_TYPE_F16) {
        const std::vector<ggml_fp16_t> half = halves(values);
        ggml_backend_tensor_set(tensor, half.data(), 0, ggml_nbytes(tensor));
        ggml_fp16_to_fp32_row(half.data(), values.data(), (int64_t) values.size());
    } else {
        ggml_backend_tensor_set(tensor, values.data(), 0, ggml_nbytes(tensor));
    }
}

// The other streams' first keys, or values, become those of the first stream.
void make_alike(const lc_attention_shape & s, std::vector<float> & values, int32_t width) {
    const size_t head = (size_t) s.n_keys * width, stream = s.n_heads_kv * head;
    for (size_t i = stream; i < values.size(); i += head) {
        std::copy_n(values.begin() + i % stream, (size_t) s.alike * width, values.begin() + i);
    }
}

inputs make_inputs(const lc_attention_shape & s) {
    inputs       in;
    const size_t heads_kv = (size_t) s.n_streams * s.n_heads_kv;
    in.q                  = noise((size_t) s.n_streams * s.n_heads * s.n_tokens * s.width_k, 1);
    in.k                  = noise(heads_kv * s.n_keys * s.width_k, 2);
    in.v                  = noise(heads_kv * s.n_keys * s.width_v, 3);
    make_alike(s, in.k, s.width_k);
    make_alike(s, in.v, s.width_v);
    in.mask  = make_mask(s);
    in.sinks = s.sinks ? noise(s.n_heads, 4) : std::vector<float>();
    return in;
}

// Keys or values, as they lie in a graph or in a cache.
struct kept {
    const lc_attention_shape & s;
    int32_t                    width;
    ggml_tensor *              root;
    ggml_tensor *              view; // [width, keys, heads, streams]

    kept(ggml_context * context, const lc_attention_shape & shape, int32_t width_) : s(shape), width(width_) {
        const ggml_type type = s.half ? GGML_TYPE_F16 : GGML_TYPE_F32;
        if (s.alike == 0) {
            root = view = ggml_new_tensor_4d(context, type, width, s.n_keys, s.n_heads_kv, s.n_streams);
            return;
        }
        const size_t row = ggml_row_size(type, width);
        root             = ggml_new_tensor_3d(context, type, (int64_t) width * s.n_heads_kv, s.n_keys, s.n_streams);
        view             = ggml_permute(context, ggml_view_4d(context, root, width, s.n_heads_kv, s.n_keys, s.n_streams, row, root->nb[1], root->nb[2], 0), 0, 2, 1, 3);
    }

    // The values become what their type holds.
    void fill(std::vector<float> & values) const {
        if (s.alike == 0) {
            return set(root, values);
        }
        std::vector<float> cells(values.size());
        for (size_t i = 0; i < values.size(); i++) {
            const size_t d = i % width, key = i / width % s.n_keys, head = i / width / s.n_keys % s.n_heads_kv;
            const size_t stream = i / width / s.n_keys / s.n_heads_kv;
            const bool   own    = stream == 0 || key >= (size_t) s.alike;
            float &      cell   = cells[((stream * s.n_keys + key) * s.n_heads_kv + head) * width + d];
            values[i]           = s.half ? ggml_fp16_to_fp32(ggml_fp32_to_fp16(values[i])) : values[i];
            cell                = own ? values[i] : std::numeric_limits<float>::quiet_NaN();
        }
        set(root, cells);
    }
};

// The result, [stream][token][head][width_v]; the inputs become what their types hold.
std::vector<float> computed(const lc_attention_shape & s, inputs & in) {
    context_ptr   context = new_context();
    ggml_tensor * q       = ggml_new_tensor_4d(context.get(), GGML_TYPE_F32, s.width_k, s.n_tokens, s.n_heads, s.n_streams);
    const kept    k(context.get(), s, s.width_k), v(context.get(), s, s.width_v);
    ggml_tensor * alike = s.alike > 0 ? lc_new_alike(context.get(), s.n_streams) : nullptr;
    k.root->extra       = alike;
    ggml_tensor * mask =
        s.window > 0 ? ggml_new_tensor_4d(context.get(), GGML_TYPE_F16, s.n_keys, s.n_tokens, 1, 1) : nullptr;
    ggml_tensor * sinks = s.sinks ? ggml_new_tensor_1d(context.get(), GGML_TYPE_F32, s.n_heads) : nullptr;
    ggml_tensor * y     = ggml_flash_attn_ext(context.get(), q, k.view, v.view, mask, 1.0f / std::sqrt((float) s.width_k),
                                              s.max_bias, s.softcap);
    ggml_flash_attn_ext_add_sinks(y, sinks);
    ggml_cgraph * graph = ggml_new_graph(context.get());
    ggml_build_forward_expand(graph, y);
    buffer_ptr buffer(ggml_backend_alloc_ctx_tensors_from_buft(context.get(), ggml_backend_cpu_buffer_type()));
    if (!buffer) {
        throw lc_exception("out_of_memory", "no memory for the tensors of an attention");
    }
    set(q, in.q);
    k.fill(in.k);
    v.fill(in.v);
    for (int32_t i = 0; alike && i < s.n_streams; i++) {
        ((lc_alike *) alike->data)[i] = { 0, i == 0 ? 0 : s.alike };
    }
    if (mask) {
        set(mask, in.mask);
    }
    if (sinks) {
        set(sinks, in.sinks);
    }
    backend_ptr backend(ggml_backend_cpu_init());
    ggml_backend_cpu_set_n_threads(backend.get(), s.n_threads);
    if (ggml_backend_graph_compute(backend.get(), graph) != GGML_STATUS_SUCCESS) {
        throw lc_exception("native", "the graph was not computed");
    }
    std::vector<float> output(ggml_nelements(y));
    ggml_backend_tensor_get(y, output.data(), 0, ggml_nbytes(y));
    return output;
}

// ALiBi's slope of a head (arXiv:2108.12409).
double slope(const lc_attention_shape & s, int32_t head) {
    if (s.max_bias == 0.0f) {
        return 1;
    }
    int32_t power = 1;
    while (power * 2 <= s.n_heads) {
        power *= 2;
    }
    return head < power ? std::pow(2.0, -s.max_bias * (head + 1) / power) : std::pow(2.0, -s.max_bias / 2.0 * (2 * (head - power) + 1) / power);
}

std::vector<double> scores(const lc_attention_shape & s, const inputs & in, int32_t head, int32_t token,
                           const float * q, const float * k) {
    std::vector<double> out(s.n_keys);
    for (int32_t j = 0; j < s.n_keys; j++) {
        double dot = 0;
        for (int32_t d = 0; d < s.width_k; d++) {
            dot += (double) q[d] * k[(size_t) j * s.width_k + d];
        }
        dot /= std::sqrt((double) s.width_k);
        out[j] = s.softcap != 0.0f ? s.softcap * std::tanh(dot / s.softcap) : dot;
        if (s.window > 0) {
            out[j] += slope(s, head) * in.mask[(size_t) token * s.n_keys + j];
        }
    }
    return out;
}

// One query's result by the definition of attention: the values' mean, weighted by exp(score).
std::vector<double> attended(const lc_attention_shape & s, const inputs & in, int32_t stream, int32_t head,
                             int32_t token) {
    const size_t        kv    = (size_t) stream * s.n_heads_kv + head / (s.n_heads / s.n_heads_kv);
    const float *       q     = &in.q[(((size_t) stream * s.n_heads + head) * s.n_tokens + token) * s.width_k];
    const float *       v     = &in.v[kv * s.n_keys * s.width_v];
    std::vector<double> score = scores(s, in, head, token, q, &in.k[kv * s.n_keys * s.width_k]);
    double              max   = *std::max_element(score.begin(), score.end());
    if (s.sinks) {
        max = std::max(max, (double) in.sinks[head]);
    }
    double              weight = s.sinks ? std::exp(in.sinks[head] - max) : 0;
    std::vector<double> sum(s.width_v);
    for (int32_t j = 0; j < s.n_keys; j++) {
        const double w = std::exp(score[j] - max);
        weight += w;
        for (int32_t d = 0; d < s.width_v; d++) {
            sum[d] += w * v[(size_t) j * s.width_v + d];
        }
    }
    for (double & value : sum) {
        value /= weight;
    }
    return sum;
}

double error_of(const lc_attention_shape & s) {
    check(s);
    inputs                   in         = make_inputs(s);
    const std::vector<float> output     = computed(s, in);
    double                   difference = 0, size = 0;
    const float *            y = output.data();
    for (int32_t stream = 0; stream < s.n_streams; stream++) {
        for (int32_t token = 0; token < s.n_tokens; token++) {
            for (int32_t head = 0; head < s.n_heads; head++) {
                for (const double right : attended(s, in, stream, head, token)) {
                    const double off = *y++ - right;
                    difference += off * off;
                    size += right * right;
                }
            }
        }
    }
    const double error = difference / size;
    return error >= 0 ? error : std::numeric_limits<double>::infinity(); // not a number
}

// A cache whose cells are numbers: what is noted about it is held against them after each change.
struct noted {
    static constexpr int32_t n_cells = 64;

    context_ptr                       context = new_context();
    ggml_tensor *                     cells;
    std::vector<std::vector<int64_t>> content;
    std::vector<lc_alike>             table;
    int64_t                           next = 0; // no number comes twice

    explicit noted(int32_t n_streams) : content(n_streams, std::vector<int64_t>(n_cells)), table(n_streams) {
        cells                   = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, 1, n_cells, n_streams);
        ggml_tensor * its_table = lc_new_alike(context.get(), n_streams);
        its_table->data         = table.data();
        cells->extra            = its_table;
        for (auto & stream : content) {
            std::for_each(stream.begin(), stream.end(), [&](int64_t & cell) { cell = next++; });
        }
    }

    void write(int32_t stream, int32_t first) {
        lc_cells_change(cells, stream, first);
        std::for_each(content[stream].begin() + first, content[stream].end(), [&](int64_t & cell) { cell = next++; });
    }

    void copy(int32_t from, int32_t to, int32_t n) {
        std::copy_n(content[from].begin(), n, content[to].begin());
        lc_cells_copied(cells, from, to, n);
    }

    int64_t count_wrong() const {
        int64_t wrong = 0;
        for (size_t i = 0; i < content.size(); i++) {
            for (int32_t end = 1; end <= n_cells; end++) {
                const auto & read = content[lc_holder(table.data(), (int64_t) i, end)];
                wrong += !std::equal(read.begin(), read.begin() + end, content[i].begin());
            }
        }
        return wrong;
    }
};

int64_t count_wrong(int32_t n_streams, int32_t n_steps, uint32_t seed) {
    if (n_streams < 2 || n_steps < 0) {
        throw std::invalid_argument("n_streams must be at least 2 and n_steps at least 0");
    }
    noted      cache(n_streams);
    const auto random = [&](int32_t below) {
        seed = seed * 1664525u + 1013904223u;
        return (int32_t) ((seed >> 8) % below);
    };
    int64_t wrong = 0;
    for (int32_t step = 0; step < n_steps; step++) {
        const int32_t stream = random(n_streams), other = random(n_streams), n = 1 + random(noted::n_cells);
        if (stream == other) {
            cache.write(stream, n - 1);
        } else {
            cache.copy(other, stream, n);
        }
        wrong += cache.count_wrong();
    }
    return wrong;
}

} // namespace

extern "C" int64_t lc_selftest_alike(int32_t n_streams, int32_t n_steps, uint32_t seed) {
    return lc_guard<int64_t>(-1, [&] { return count_wrong(n_streams, n_steps, seed); });
}

extern "C" double lc_selftest_attention(const lc_attention_shape * shape) {
    return lc_guard<double>(std::numeric_limits<double>::quiet_NaN(), [&] { return (lc_init(), error_of(*shape)); });
}
