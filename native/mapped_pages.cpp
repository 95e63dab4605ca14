#include "mapped_pages.h"

#include "ggml-backend.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)

// What llama.cpp keeps for its own tools; declared here because its header is no public one.
const std::vector<std::pair<std::string, ggml_tensor *>> & llama_internal_get_tensor_map(const llama_model * model);

namespace {

using range = std::pair<uintptr_t, uintptr_t>;

// Memory that is the file itself. Other memory must never be given back: it would come again as zeros.
bool is_mapped(const ggml_tensor * t) {
    return t->buffer && strcmp(ggml_backend_buffer_name(t->buffer), "CPU_Mapped") == 0;
}

void drop(uintptr_t begin, uintptr_t end) {
    const uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE);
    begin                = (begin + page - 1) / page * page;
    end                  = end / page * page;
    if (begin < end) {
        madvise((void *) begin, end - begin, MADV_DONTNEED); // fails for locked pages, which are to stay
    }
}

} // namespace

void lc_drop_copied_pages(const llama_model * model) {
    std::map<ggml_backend_buffer_t, std::vector<range>> read; // where the weights lie that are read in place
    for (const auto & [name, t] : llama_internal_get_tensor_map(model)) {
        if (is_mapped(t)) {
            auto & its = read[t->buffer];
            if (!t->extra) { // else they were packed
                its.emplace_back((uintptr_t) t->data, (uintptr_t) t->data + ggml_nbytes(t));
            }
        }
    }
    for (auto & [buffer, ranges] : read) {
        uintptr_t       at  = (uintptr_t) ggml_backend_buffer_get_base(buffer);
        const uintptr_t end = at + ggml_backend_buffer_get_size(buffer);
        std::sort(ranges.begin(), ranges.end());
        for (const range & one : ranges) {
            drop(at, one.first);
            at = std::max(at, one.second);
        }
        drop(at, end);
    }
}

#else

void lc_drop_copied_pages(const llama_model *) {}

#endif
