// Caches that take memory as they fill.
//
// llama.cpp clears a new KV cache by writing zeros over all of it, which makes the whole reservation
// resident: hundreds of MiB, most of them for tokens that never come, and most of the time of a load. The
// kernel gives the same zeros page by page on first use. Where the linker knows --wrap, llama.cpp's calls of
// ggml_backend_buffer_clear() come here; ggml_backend_buffer_free() too, so that a closed model's memory is gone.
#include "zero_pages.h"

#include "ggml-backend.h"

#ifdef LLAMACPP_WRAP_BUFFERS

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

struct range {
    uintptr_t begin = 0;
    size_t    size  = 0;
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

// The memory of a large buffer, if it is of the ordinary allocator: mapped files and pinned memory do not read as
// zeros when their pages were given back.
range own_memory(ggml_backend_buffer_t buffer) {
    constexpr size_t worthwhile = size_t(1) << 20;
    const size_t     size       = ggml_backend_buffer_get_size(buffer);
    if (size < worthwhile || ggml_backend_buffer_get_type(buffer) != ggml_backend_cpu_buffer_type()) {
        return {};
    }
    return { uintptr_t(ggml_backend_buffer_get_base(buffer)), size };
}

range whole_pages(const range & memory) {
    const uintptr_t page  = page_size();
    const uintptr_t first = (memory.begin + page - 1) / page * page;
    const uintptr_t last  = (memory.begin + memory.size) / page * page;
    return first < last ? range{ first, last - first } : range{};
}

// They read as zeros from now on. False where the system cannot: locked memory, for one.
bool give_back(const range & pages) {
    return pages.size > 0 && madvise(reinterpret_cast<void *>(pages.begin), pages.size, MADV_DONTNEED) == 0;
}

// Where the kernel gives huge pages to everybody, the first token of a layer would bring 2 MiB with it: of a small
// model's cache, that is most of what there is.
void keep_steps_small(const range & cache, size_t part) {
    constexpr size_t huge_page = size_t(2) << 20;
    if (part < 8 * huge_page) {
        const range pages = whole_pages(cache);
        madvise(reinterpret_cast<void *>(pages.begin), pages.size, MADV_NOHUGEPAGE);
    }
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
    // Keys and values of each layer, one stream of cells after the other.
    const size_t n_parts = 2 * n_streams * std::max<size_t>(1, (size_t) llama_model_n_layer(model));
    for (const auto & [begin, size] : cleared) {
        const size_t part = size / n_parts;
        keep_steps_small({ begin, size }, part);
        for (size_t i = 0; i < n_parts; i++) {
            populate(begin + i * part, part * std::min(n_tokens, n_cells) / n_cells);
        }
    }
    watching = false;
    cleared.clear();
}

extern "C" {

void __real_ggml_backend_buffer_clear(ggml_backend_buffer_t buffer, uint8_t value);
void __real_ggml_backend_buffer_free(ggml_backend_buffer_t buffer);

void __wrap_ggml_backend_buffer_clear(ggml_backend_buffer_t buffer, uint8_t value) {
    const range memory = value == 0 ? own_memory(buffer) : range{};
    const range pages  = whole_pages(memory);
    if (pages.size == 0 || !give_back(pages)) {
        __real_ggml_backend_buffer_clear(buffer, value);
        return;
    }
    const uintptr_t behind = pages.begin + pages.size;
    std::memset(reinterpret_cast<void *>(memory.begin), 0, pages.begin - memory.begin);
    std::memset(reinterpret_cast<void *>(behind), 0, memory.begin + memory.size - behind);
    if (watching) {
        cleared.push_back(memory);
    }
}

// The allocator may keep what is freed for later; the pages go back to the system all the same.
void __wrap_ggml_backend_buffer_free(ggml_backend_buffer_t buffer) {
    if (buffer != nullptr) {
        give_back(whole_pages(own_memory(buffer)));
    }
    __real_ggml_backend_buffer_free(buffer);
}
}

#else

void lc_watch_caches() {}

void lc_populate_caches(const llama_model *, const llama_context *) {}

#endif
