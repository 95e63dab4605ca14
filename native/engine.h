// The C ABI of the engine: plain C declarations, read by cffi and by the C++ sources alike. plan.h, parser.h and
// slots.h have what works on an engine.
//
// Strings are UTF-8. A function that can fail returns a null pointer or a negative number and leaves the reason
// for lc_take_error() on the calling thread. No exception leaves a function declared here.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lc_engine_ref lc_engine_ref;
typedef struct lc_pin        lc_pin;
typedef struct lc_plan       lc_plan;
typedef struct lc_parser     lc_parser;
typedef struct lc_tools      lc_tools;

// What lc_engine_take() hands out. Which fields are set depends on the kind.
enum lc_event_kind {
    LC_EVENT_TEXT      = 0, // data: a piece of generated text
    LC_EVENT_CHUNK     = 1, // data: JSON: text, probs, tokens, progress (what there is)
    LC_EVENT_FINAL     = 2, // data: JSON: how one generation ended; the last event of its index
    LC_EVENT_EMBEDDING = 3, // data: n_rows * n_cols float32; the last event of its index
    LC_EVENT_SCORE     = 4, // data: one float32; the last event of its index
    LC_EVENT_ERROR     = 5, // data: JSON {"type", "message", ...}; the last event of the request
};

typedef struct {
    int64_t      request;  // the number given to lc_submit()
    int32_t      kind;     // lc_event_kind
    int32_t      index;    // which of the request's generations or inputs
    int32_t      n_rows;
    int32_t      n_cols;
    int32_t      n_tokens; // tokens of the input, for embeddings and scores
    int32_t      is_last;  // nothing follows for this request
    const char * data;
    size_t       size;     // bytes in data
} lc_event;

// Shared with the thread that loads a model: it writes progress and reads cancel.
typedef struct {
    volatile float   progress; // 0 to 1
    volatile int32_t cancel;   // set to 1 to give up loading
} lc_load_state;

// Sets llama.cpp up and sends its log here. Everything below that needs it calls it; so must whoever
// uses llama.h without an engine. Can be repeated.
void lc_init(void);

// Facts about this build.
const char * lc_build_info(void);     // JSON: version, CPU features, devices, what the build changes in llama.cpp
const char * lc_server_options(void); // JSON: every llama-server option, its spellings and help

// Whether a model's chat template can be read and rendered without using up the stack; else an error is kept.
bool lc_template_is_bounded(const char * text, size_t size);

// A place for an engine. It is valid until it is freed; functions called for an engine that is closed, or not
// open yet, fail with the type "closed".
lc_engine_ref * lc_engine_new(void);
void            lc_engine_free(lc_engine_ref * engine); // closes it, too
// Opens an engine in its place. options: JSON {"options": [["--flag", "value"?, "value"?], ...]}. Returns 0, or -1.
int32_t lc_engine_open(lc_engine_ref * engine, const char * options, size_t size, lc_load_state * state);
// Ends its threads and requests. Its memory is freed by whoever uses it last: a call that is still running, or a pin.
void         lc_engine_close(lc_engine_ref * engine);
const char * lc_engine_info(lc_engine_ref * engine); // JSON, valid while the engine is open

// Keeps an engine's model in memory.
lc_pin *                   lc_pin_new(void);
void                       lc_pin_free(lc_pin * pin);
const struct llama_model * lc_pin_model(lc_pin * pin, lc_engine_ref * engine); // valid until the pin is freed

// Ends a request; nothing follows for it. One that has ended is left alone.
void    lc_cancel(lc_engine_ref * engine, int64_t request);
int32_t lc_engine_active(lc_engine_ref * engine); // requests submitted and not ended

// Waits up to about a second for results of any request. Returns how many events there are (0: none
// yet, -1: the engine's loop has ended). They stay valid until the next call. One thread may call it.
int32_t lc_engine_take(lc_engine_ref * engine, const lc_event ** events);
void    lc_engine_wake(lc_engine_ref * engine); // makes a waiting lc_engine_take() return
