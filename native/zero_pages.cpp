// Caches that take memory as they fill.
//
// llama.cpp clears a new KV cache by writing zeros over all of it, which makes the whole reservation
// resident: hundreds of MiB, most of them for tokens that never come, and most of the time of a load. The
// kernel gives the same zeros page by page on first use. Where the linker knows --wrap, llama.cpp's calls of
// ggml_backend_buffer_clear() come here.

#include "ggml-backend.h"

#ifdef LLAMACPP_WRAP_BUFFER_CLEAR

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

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
    const auto page  = uintptr_t(sysconf(_SC_PAGESIZE));
    const auto begin = uintptr_t(ggml_backend_buffer_get_base(buffer));
    const auto end   = begin + size;
    const auto first = (begin + page - 1) / page * page;
    const auto last  = end / page * page;
    if (madvise(reinterpret_cast<void *>(first), last - first, MADV_DONTNEED) != 0) {
        __real_ggml_backend_buffer_clear(buffer, value); // locked memory, for one
        return;
    }
    std::memset(reinterpret_cast<void *>(begin), 0, first - begin);
    std::memset(reinterpret_cast<void *>(last), 0, end - last);
}
}

#endif
