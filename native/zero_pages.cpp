// Caches that take memory as they fill.
//
// llama.cpp clears a new KV cache by writing zeros over all of it, which makes the whole reservation
// resident: hundreds of MiB, most of them for tokens that never come, and most of the time of a load. The
// kernel gives the same zeros page by page on first use. Where the linker knows --wrap, llama.cpp's calls of
// ggml_backend_buffer_clear() come here.
#include "zero_pages.h"

#include "ggml-backend.h"

#ifdef LLAMACPP_WRAP_BUFFER_CLEAR

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

struct range {
    uintptr_t begin;
    size_t    size;
};
thread_local bool               watching = false; // whether a load runs on this thread
thread_local std::vector<range> cleared;          // by that load

uintptr_t page_size() {
    static const auto size = uintptr_t(sysconf(_SC_PAGESIZE));
    return size;
}

// Makes a range resident without changing it. Kernels before 5.14 do not know how: they do so on first use.
void populate(uintptr_t begin, size_t size) {
#ifdef MADV_POPULATE_WRITE
    const uintptr_t first = begin / page_size() * page_size();
    madvise(reinterpret_cast<void *>(first), begin + size - first, MADV_POPULATE_WRITE);
#else
    (void) begin;
    (void) size;
#endif
}

} // namespace

void lc_watch_caches() {
    watching = true;
    cleared.clear();
}

void lc_populate_caches(const llama_model * model, const llama_context * ctx) {
    constexpr size_t n_tokens  = 256;
    const size_t     n_cells   = std::max<size_t>(1, llama_n_ctx_seq(ctx));
    const size_t     n_streams = std::max<size_t>(1, llama_n_ctx(ctx) / n_cells);
    // Keys and values of each layer, one stream of cells behind the other.
    const size_t n_parts = 2 * n_streams * std::max<size_t>(1, (size_t) llama_model_n_layer(model));
    for (const auto & [begin, size] : cleared) {
        const size_t part = size / n_parts;
        for (size_t i = 0; i < n_parts; i++) {
            populate(begin + i * part, part * std::min(n_tokens, n_cells) / n_cells);
        }
    }
    watching = false;
    cleared.clear();
}

extern "C" {

void __real_ggml_backend_buffer_clear(ggml_backend_buffer_t buffer, uint8_t value);

void __wrap_ggml_backend_buffer_clear(ggml_backend_buffer_t buffer, uint8_t value) {
    constexpr size_t worthwhile = size_t(1) << 20;
    const size_t     size       = ggml_backend_buffer_get_size(buffer);
    // Only memory of the ordinary allocator: mapped files and pinned memory do not read as zeros afterwards.
    if (value != 0 || size < worthwhile || ggml_backend_buffer_get_type(buffer) != ggml_backend_cpu_buffer_type()) {
        __real_ggml_backend_buffer_clear(buffer, value);
        return;
    }
    const uintptr_t page  = page_size();
    const auto      begin = uintptr_t(ggml_backend_buffer_get_base(buffer));
    const uintptr_t end   = begin + size;
    const uintptr_t first = (begin + page - 1) / page * page;
    const uintptr_t last  = end / page * page;
    if (madvise(reinterpret_cast<void *>(first), last - first, MADV_DONTNEED) != 0) {
        __real_ggml_backend_buffer_clear(buffer, value); // locked memory, for one
        return;
    }
    std::memset(reinterpret_cast<void *>(begin), 0, first - begin);
    std::memset(reinterpret_cast<void *>(last), 0, end - last);
    if (watching) {
        cleared.push_back({ begin, size });
    }
}
}

#else

void lc_watch_caches() {}

void lc_populate_caches(const llama_model *, const llama_context *) {}

#endif
