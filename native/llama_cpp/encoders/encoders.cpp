// Products with packed weights (packed.h).
//
// This is llama.cpp's traits.cpp, where ggml asks for each operation whether somebody has a better way to do it, with
// our answer in front of its own.
#define ggml_cpu_extra_compute_forward ggml_cpu_extra_compute_forward_as_published
#define ggml_cpu_extra_work_size ggml_cpu_extra_work_size_as_published
#include "ggml-cpu/traits.cpp"
#undef ggml_cpu_extra_compute_forward
#undef ggml_cpu_extra_work_size

#include "bytes.h"
#include "chain.h"
#include "norm.h"
#include "packed.h"
#include "tiles.h"
#include "words.h"

#if defined(__unix__) || defined(__APPLE__)
#    include <sys/mman.h>
#endif

#include <cstdlib>
#include <new>
#include <stdexcept>

extern "C" {
bool ggml_cpu_extra_compute_forward(struct ggml_compute_params * params, struct ggml_tensor * op);
bool ggml_cpu_extra_work_size(int n_threads, const struct ggml_tensor * op, size_t * size);
// Computes a node with those after it, if that goes at once; returns how many those are. Called for each node of a graph
// before anything else (threads/).
int lc_fuse(const struct ggml_cgraph * graph, int node, const struct ggml_compute_params * params);
}

#ifdef LC_PACKED_PRODUCTS

namespace {

// Zeroed memory of its own pages, which go back to the system when it ends. From the allocator it would lie among what
// other models leave, and a process that loads one model after another would keep the gaps.
class pages {
  public:
    explicit pages(size_t size) : n(size) {
#    if defined(__unix__) || defined(__APPLE__)
        void * found = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
        begin        = found == MAP_FAILED ? nullptr : static_cast<char *>(found);
#    else
        begin = static_cast<char *>(calloc(n, 1));
#    endif
        if (!begin) {
            throw std::bad_alloc();
        }
    }
    ~pages() {
#    if defined(__unix__) || defined(__APPLE__)
        munmap(begin, n);
#    else
        free(begin);
#    endif
    }
    pages(const pages &)             = delete;
    pages & operator=(const pages &) = delete;

    char * data() const { return begin; }
    size_t size() const { return n; }

  private:
    size_t n;
    char * begin;
};

} // namespace

// A weight's `extra` points here. ggml leaves that field alone for tensors in ordinary memory.
struct lc_packed_weights::copy {
    static constexpr uint64_t known = 0x6c635f7061636b65;

    uint64_t             mark = known;
    ggml_tensor *        tensor;
    pages                room;
    lc_encoders::weights weights;

    copy(ggml_tensor * t, size_t size) : tensor(t), room(size) {}
};

namespace {

constexpr size_t line = 64;

char * aligned(char * p) { return reinterpret_cast<char *>((uintptr_t(p) + line - 1) / line * line); }

bool can_be_packed(const ggml_tensor * t) {
    return lc_packed_weights::can_pack(t->type) && t->buffer && ggml_backend_buffer_is_host(t->buffer) && !t->extra && t->ne[2] == 1 && t->ne[3] == 1 &&
           t->ne[0] % 16 == 0 && t->ne[1] >= lc_encoders::panel && ggml_is_contiguous(t);
}

// Calls use() with the kernel for the weights.
template <typename Use> auto with_kernel(lc_encoders::form form, const Use & use) {
#    ifdef LC_PACKED_BYTES
    if (form == lc_encoders::form::bytes) {
        return use(lc_encoders::bytes());
    }
#    endif
#    ifdef LC_PACKED_TILES
    if (form == lc_encoders::form::tiles) {
        return use(lc_encoders::tiles());
    }
#    endif
    return use(lc_encoders::words());
}

size_t work_size(const lc_encoders::weights & w, const ggml_tensor * op) {
    const int64_t rows = ggml_nrows(op->src[1]);
    return with_kernel(w.as, [&](auto kernel) {
        return kernel.values_of_inputs(w.width, rows) + kernel.scales_of_inputs(w.width, rows) + 2 * line;
    });
}

// The products of all chains, which have the same inputs: row_of(i) is a row of these.
template <typename Kernel, typename RowOf>
void multiply(Kernel kernel, const lc_encoders::chain * some, int n_chains, const ggml_compute_params * params,
              const RowOf & row_of) {
    using namespace lc_encoders;
    const int64_t rows = ggml_nrows(some->x), width = some->w->width;
    char *        room = aligned((char *) params->wdata);
    const inputs  in{ width, rows, room, (float *) aligned(room + kernel.values_of_inputs(width, rows)) };
    if (params->ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    for (int64_t row = params->ith; row < rows; row += params->nth) {
        kernel.set_inputs(in, *some->w, row, row_of(row));
    }
    ggml_barrier(params->threadpool);

    // units: a group of rows with some panels, small enough that no thread waits long for another
    const int64_t groups = n_groups(rows);
    int64_t       unit = params->ith, begin = 0;
    for (int i = 0; i < n_chains; i++) {
        const weights & w      = *some[i].w;
        const int64_t   panels = n_panels(w.n_outputs);
        const int64_t   parts  = std::min(panels, std::max<int64_t>(1, 16 * params->nth / groups));
        const finish    put(some[i]);
        for (; unit < begin + groups * parts; unit = ggml_threadpool_chunk_add(params->threadpool, 1)) {
            const int64_t part = (unit - begin) % parts;
            kernel.multiply(in, w, (unit - begin) / parts, part * panels / parts, (part + 1) * panels / parts, put);
        }
        begin += groups * parts;
    }
}

template <typename RowOf>
void multiply(const lc_encoders::chain * some, int n_chains, const ggml_compute_params * params, const RowOf & row_of) {
    with_kernel(some->w->as, [&](auto kernel) { multiply(kernel, some, n_chains, params, row_of); });
}

} // namespace

const lc_encoders::weights * lc_encoders::packed_of(const ggml_tensor * op) {
    if (op->op != GGML_OP_MUL_MAT || !op->src[0]->extra || !op->src[0]->buffer ||
        !ggml_backend_buffer_is_host(op->src[0]->buffer)) {
        return nullptr;
    }
    const auto * found = static_cast<const lc_packed_weights::copy *>(op->src[0]->extra);
    const bool   fits  = found->mark == lc_packed_weights::copy::known && has_float_rows(op->src[1]) && has_float_rows(op);
    return fits ? &found->weights : nullptr;
}

bool lc_packed_weights::can_pack(ggml_type type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

bool lc_packed_weights::has(lc_encoders::form form) {
    switch (form) {
#    ifdef LC_PACKED_TILES
        case lc_encoders::form::tiles: return lc_encoders::tiles::allowed();
#    endif
#    ifdef LC_PACKED_BYTES
        case lc_encoders::form::bytes: return true;
#    endif
        default: return form == lc_encoders::form::words;
    }
}

void lc_packed_weights::add(ggml_tensor * t, lc_encoders::form form, const std::vector<float> & spread) {
    if (!has(form)) {
        throw std::invalid_argument("this CPU does not multiply weights of that form");
    }
    if (!can_be_packed(t)) {
        return;
    }
#    ifdef LC_PACKED_TILES
    if (form == lc_encoders::form::tiles && t->ne[0] > lc_encoders::tiles::widest) {
        form = lc_encoders::form::words;
    }
#    endif
    with_kernel(form, [&](auto kernel) {
        const size_t values = kernel.values_of_weights(t->ne[0], t->ne[1]);
        const size_t scales = kernel.scales_of_weights(t->ne[0], t->ne[1]);
        const size_t rest   = kernel.rest_of_weights(t->ne[0], t->ne[1]);
        auto         made   = std::make_unique<copy>(t, values + scales + rest + 3 * line);
        char *       room   = aligned(made->room.data());
        auto &       its    = made->weights;
        its                 = { t->ne[0], t->ne[1], form, room, (float *) aligned(room + values), nullptr, nullptr };
        its.offsets         = (int32_t *) aligned((char *) its.scales + scales);
        if (form == lc_encoders::form::bytes && !spread.empty()) {
            its.factors = (float *) ((char *) its.offsets + rest) - t->ne[0];
            std::transform(spread.begin(), spread.end(), its.factors, [](float one) { return 1.0f / one; });
        }
        std::vector<float> row(t->ne[0]);
        for (int64_t i = 0; i < t->ne[1]; i++) {
            const char * data = (const char *) t->data + i * t->nb[1];
            if (t->type == GGML_TYPE_F32) {
                memcpy(row.data(), data, row.size() * sizeof(float));
            } else {
                ggml_get_type_traits(t->type)->to_float(data, row.data(), t->ne[0]);
            }
            for (size_t j = 0; its.factors && j < row.size(); j++) {
                row[j] *= spread[j];
            }
            kernel.set_weights(its, i, row.data());
        }
        t->extra = made.get();
        copies.push_back(std::move(made));
    });
}

bool ggml_cpu_extra_compute_forward(struct ggml_compute_params * params, struct ggml_tensor * op) {
    if (const lc_encoders::weights * w = lc_encoders::packed_of(op)) {
        const lc_encoders::chain alone = { w, op->src[1], op, 0 };
        multiply(&alone, 1, params, lc_encoders::tensor_rows(op->src[1]));
        return true;
    }
    return ggml_cpu_extra_compute_forward_as_published(params, op);
}

bool ggml_cpu_extra_work_size(int n_threads, const struct ggml_tensor * op, size_t * size) {
    if (const lc_encoders::weights * w = lc_encoders::packed_of(op)) {
        *size = work_size(*w, op);
        return true;
    }
    return ggml_cpu_extra_work_size_as_published(n_threads, op, size);
}

#else

struct lc_packed_weights::copy {};

bool lc_packed_weights::can_pack(ggml_type) {
    return false;
}

bool lc_packed_weights::has(lc_encoders::form) {
    return false;
}

void lc_packed_weights::add(ggml_tensor *, lc_encoders::form, const std::vector<float> &) {}

bool ggml_cpu_extra_compute_forward(struct ggml_compute_params * params, struct ggml_tensor * op) {
    return ggml_cpu_extra_compute_forward_as_published(params, op);
}

bool ggml_cpu_extra_work_size(int n_threads, const struct ggml_tensor * op, size_t * size) {
    return ggml_cpu_extra_work_size_as_published(n_threads, op, size);
}

#endif

int lc_fuse(const struct ggml_cgraph * graph, int node, const struct ggml_compute_params * params) {
#ifdef LC_PACKED_PRODUCTS
    if (lc_encoders::packed_of(graph->nodes[node])) {
        const lc_encoders::chains found(graph, node);
        if (found.n > 0 && found.last() > node) {
            multiply(found.each, found.n, params, lc_encoders::tensor_rows(found.each[0].x));
            return found.last() - node;
        }
    }
#endif
#ifdef LC_SIMD
    if (graph->nodes[node]->op == GGML_OP_NORM) {
        const lc_norm::norm found(graph, node);
        if (found.n_nodes == 0) {
            return 0;
        }
        const auto row = [&](int64_t i) { return found.compute(i); };
#    ifdef LC_PACKED_PRODUCTS
        const lc_encoders::chains its(graph, node + found.n_nodes);
        if (its.n > 0 && its.each[0].x == found.out) {
            multiply(its.each, its.n, params, row);
            return its.last() - node;
        }
#    endif
        for (int64_t i = params->ith; i < ggml_nrows(found.x); i += params->nth) {
            row(i);
        }
        return found.n_nodes - 1;
    }
#endif
    return 0;
}

lc_encoders::form lc_packed_weights::best(bool fast) {
    using lc_encoders::form;
    return has(form::tiles) ? form::tiles : fast && has(form::bytes) ? form::bytes : form::words;
}

lc_packed_weights::lc_packed_weights() = default;

lc_packed_weights::~lc_packed_weights() {
#ifdef LC_PACKED_PRODUCTS
    for (const auto & one : copies) {
        one->tensor->extra = nullptr;
    }
#endif
}

size_t lc_packed_weights::size() const {
    size_t sum = 0;
#ifdef LC_PACKED_PRODUCTS
    for (const auto & one : copies) {
        sum += one->room.size();
    }
#endif
    return sum;
}
