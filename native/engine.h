// The C ABI of the engine: plain C declarations, read by cffi and by the C++ sources alike.
//
// Strings are UTF-8. A function that can fail returns a null pointer or a negative number and
// leaves a JSON object {"type", "message", ...} for lc_last_error() on the calling thread.
// No exception leaves a function declared here.

typedef struct lc_engine lc_engine;
typedef struct lc_plan   lc_plan;
typedef struct lc_parser lc_parser;
typedef struct lc_tools  lc_tools;

// What lc_engine_take() hands out. Which fields are set depends on the kind.
enum lc_event_kind {
    LC_EVENT_TEXT      = 0, // data: a piece of generated text
    LC_EVENT_CHUNK     = 1, // data: JSON: text, probs, tokens, progress (what there is)
    LC_EVENT_FINAL     = 2, // data: JSON: how one generation ended; the last event of its index
    LC_EVENT_EMBEDDING = 3, // data: n_rows * n_cols float32; the last event of its index
    LC_EVENT_SCORE     = 4, // data: one float32; the last event of its index
    LC_EVENT_ERROR     = 5, // data: JSON {"type", "message", ...}; the last event of the request
};

enum lc_task_kind {
    LC_TASK_COMPLETION = 0,
    LC_TASK_EMBEDDING  = 1,
    LC_TASK_RERANK     = 2,
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

// Errors and facts about this build.
const char * lc_last_error(void);
const char * lc_build_info(void);     // JSON: versions, compiler, CPU features, devices
const char * lc_server_options(void); // JSON: every llama-server option, its spellings and help

// llama.cpp's log. Level as in ggml_log_level; records below it are dropped at once.
void    lc_log_set_level(int32_t level);
int32_t lc_log_pending(void);
// The oldest record, valid until the next call on the same thread; null when there is none.
const char * lc_log_next(int32_t * level, size_t * size);

// Whether a model's chat template can be read and rendered without using up the stack; else an error is kept.
bool lc_template_is_bounded(const char * text, size_t size);

// options: JSON {"options": [["--flag", "value"?, "value"?], ...]}
lc_engine * lc_engine_open(const char * options, size_t size, lc_load_state * state);
// Call only when no other thread is inside a function of this engine.
void        lc_engine_close(lc_engine * engine);
const char * lc_engine_info(lc_engine * engine); // JSON, owned by the engine
const struct llama_model * lc_engine_model(lc_engine * engine);

// Tools for prompts of one engine: a JSON array in OpenAI's form. They can be used for any number of plans.
lc_tools * lc_tools_new(const char * text, size_t size);
void       lc_tools_free(lc_tools * tools);

// A request is planned, then submitted. A plan is used once and freed by its owner.
// tools: null for none. body: JSON: messages, kwargs, add_generation_prompt, enable_thinking: what the template sees;
// safe: the caller's text cannot become control tokens; complete: refuse a template that leaves messages
// out (2), or leaves out more than content beside calls (1); cut_at?: a text of the last message, in front of
// which the prompt ends; append?, prefill?: text behind the prompt, from core and from the caller;
// format?: an OpenAI request without messages, for which llama.cpp plans constraint and parser, with
// format_key: names it, and native_calls: whether its calls are the template's own;
// media?: a whole OpenAI request instead, for conversations with images or audio.
lc_plan * lc_plan_chat(lc_engine * engine, lc_tools * tools, const char * body, size_t size);
// n_prompts token lists, one after the other, with their lengths.
lc_plan * lc_plan_tokens(lc_engine * engine, const int32_t * tokens, const int32_t * lengths, int32_t n_prompts);
lc_plan * lc_plan_rerank(lc_engine * engine, const char * body, size_t size);
void      lc_plan_free(lc_plan * plan);
// format_key, with an addition where the conversation begins the answer in a way of its own.
const char *    lc_plan_format(lc_plan * plan);
// JSON: prompt, n_media, and the fields that the template's format brings. Owned by the plan.
const char *    lc_plan_info(lc_plan * plan);
const int32_t * lc_plan_prompt(lc_plan * plan, int32_t index, size_t * n_tokens);
int32_t         lc_plan_n_prompts(lc_plan * plan);

// llama.cpp's parser for the plan's format. Text goes in piece by piece; out come message deltas as a
// JSON array, valid until the next call. partial 0: the text has ended.
lc_parser *  lc_parser_new(lc_plan * plan);
void         lc_parser_free(lc_parser * parser);
const char * lc_parser_feed(lc_parser * parser, const char * text, size_t size, int32_t partial);

// request: a number that the caller has not used yet. params: JSON with llama-server's sampling
// fields, merged over the plan's own. Returns 0, or -1.
int32_t lc_submit(lc_engine * engine, lc_plan * plan, int64_t request, int32_t kind, const char * params, size_t size);
void    lc_cancel(lc_engine * engine, int64_t request);
// Writes what a slot remembers to a file of llama.cpp's, or reads it back (restore 1). Waits until the slot
// is idle, timeout_s at most. Returns the number of tokens, or -1.
int32_t lc_slot_file(lc_engine * engine, int32_t slot, const char * path, int32_t restore, int32_t timeout_s);
// Keeps beginnings of prompts in a folder, max_bytes at most, for the next process; an empty name: no longer.
// fingerprint: differs for models and options whose caches differ. Returns 0, or -1.
int32_t lc_engine_keep_prompts(lc_engine * engine, const char * folder, uint64_t max_bytes, const char * fingerprint);
int32_t lc_engine_active(lc_engine * engine); // requests submitted and not ended

// Waits up to about a second for results of any request. Returns how many events there are (0: none
// yet, -1: the engine's loop has ended). They stay valid until the next call. One thread may call it.
int32_t lc_engine_take(lc_engine * engine, const lc_event ** events);
void    lc_engine_wake(lc_engine * engine); // makes a waiting lc_engine_take() return
