// Takes the place of llama.cpp's common/log.cpp, whose records go to stdout and stderr.
//
// Every symbol of common/log.h is defined here, so the linker does not pull the original from its
// archive. Records wait in a bounded queue until the Python side fetches them: no thread of
// llama.cpp ever waits for, or calls into, the interpreter.
#include "log.h"

#include "error.h"
#include "llama_cpp/per_process.h"
#include "json.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

extern "C" {
#include "log_records.h"
}

namespace {

constexpr size_t max_records = 4096;

struct record {
    ggml_log_level level;
    std::string    text;
};

struct log_state {
    std::mutex           mutex;
    std::deque<record>   records;
    std::string          line; // a record comes in pieces until its newline
    ggml_log_level       line_level = GGML_LOG_LEVEL_NONE;
    size_t               n_dropped  = 0;
    std::atomic<int32_t> n_pending{ 0 };
};

lc_per_process<log_state> state;
std::atomic<int>          min_level{ GGML_LOG_LEVEL_WARN };

void push(ggml_log_level level, std::string text) {
    if (state->records.size() >= max_records) {
        state->records.pop_front();
        state->n_dropped++;
    }
    state->records.push_back({ level, std::move(text) });
    state->n_pending = (int32_t) state->records.size();
}

bool wanted(ggml_log_level level) {
    return level == GGML_LOG_LEVEL_CONT || level == GGML_LOG_LEVEL_NONE || level >= min_level;
}

void add(ggml_log_level level, const char * text) {
    std::lock_guard<std::mutex> lock(state->mutex);
    if (level != GGML_LOG_LEVEL_CONT) {
        state->line.clear();
        state->line_level = level == GGML_LOG_LEVEL_NONE ? GGML_LOG_LEVEL_INFO : level;
    }
    if (state->line_level < min_level) {
        return;
    }
    for (const char * p = text; *p; p++) {
        if (*p != '\n') {
            state->line += *p;
        } else if (!state->line.empty()) {
            push(state->line_level, std::move(state->line));
            state->line.clear();
        }
    }
}

} // namespace

struct common_log {};

static common_log the_log;

struct common_log * common_log_init() { return &the_log; }
struct common_log * common_log_main() { return &the_log; }
void                common_log_pause(struct common_log *) {}
void                common_log_resume(struct common_log *) {}
void                common_log_free(struct common_log *) {}
void                common_log_set_file(struct common_log *, const char *) {}
void                common_log_set_colors(struct common_log *, log_colors) {}
void                common_log_set_prefix(struct common_log *, bool) {}
void                common_log_set_timestamps(struct common_log *, bool) {}
void                common_log_flush(struct common_log *) {}
bool                common_log_get_jsonl(void) { return false; }
void                common_log_set_jsonl(bool) {}
void                common_log_add_json(struct common_log *, const char *, const common_json &) {}
void                common_log_set_verbosity_thold(int) {}

int common_log_get_verbosity(enum ggml_log_level level) {
    switch (level) {
        case GGML_LOG_LEVEL_DEBUG: return LOG_LEVEL_DEBUG;
        case GGML_LOG_LEVEL_WARN:  return LOG_LEVEL_WARN;
        case GGML_LOG_LEVEL_ERROR: return LOG_LEVEL_ERROR;
        default:                   return LOG_LEVEL_INFO;
    }
}

int common_log_get_verbosity_thold(void) {
    const int level = min_level;
    return level <= GGML_LOG_LEVEL_DEBUG ? LOG_LEVEL_DEBUG : level == GGML_LOG_LEVEL_INFO ? LOG_LEVEL_INFO
                                                         : level == GGML_LOG_LEVEL_WARN   ? LOG_LEVEL_WARN
                                                                                          : LOG_LEVEL_ERROR;
}

void common_log_add(struct common_log *, enum ggml_log_level level, const char * fmt, ...) {
    if (!wanted(level)) {
        return;
    }
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int size = vsnprintf(nullptr, 0, fmt, args);
    va_end(args);
    if (size >= 0) {
        std::vector<char> text((size_t) size + 1);
        vsnprintf(text.data(), text.size(), fmt, again);
        add(level, text.data());
    }
    va_end(again);
}

void common_log_default_callback(enum ggml_log_level level, const char * text, void *) {
    if (wanted(level)) {
        add(level, text);
    }
}

extern "C" {

void lc_log_set_level(int32_t level) { min_level = level; }

int32_t lc_log_pending(void) { return state->n_pending; }

int32_t lc_log_next(lc_log_record * out) {
    return lc_guard<int32_t>(-1, [&] {
        static thread_local record  taken;
        std::lock_guard<std::mutex> lock(state->mutex);
        if (state->n_dropped > 0) {
            taken            = { GGML_LOG_LEVEL_WARN, std::to_string(state->n_dropped) + " older log records were dropped" };
            state->n_dropped = 0;
        } else if (!state->records.empty()) {
            taken = std::move(state->records.front());
            state->records.pop_front();
            state->n_pending = (int32_t) state->records.size();
        } else {
            return 0;
        }
        *out = { taken.level, taken.text.c_str(), taken.text.size() };
        return 1;
    });
}
}
