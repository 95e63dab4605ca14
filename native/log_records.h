// llama.cpp's log, record by record. Plain C declarations: read by cffi too.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int32_t      level; // as in ggml_log_level
    const char * text;
    size_t       size;
} lc_log_record;

void    lc_log_set_level(int32_t level); // records below it are dropped at once
int32_t lc_log_pending(void);
// Takes the oldest record, valid until the next call on the same thread. Returns 1; 0 when there is none; -1 after
// an error.
int32_t lc_log_next(lc_log_record * record);
