// What the C++ sources of the engine share. Nothing outside native/ sees it.
#pragma once

#include "error.h"
#include "grammar/constraint.h"
#include "packing.h"
#include "render.h"

#include "common.h"
#include "llama.h"
#include "server-context.h"
#include "server-queue.h"
#include "server-task.h"

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

extern "C" {
#include "adapters.h"
#include "engine.h"
#include "parser.h"
#include "plan.h"
#include "slots.h"
}

struct lc_generation {
    std::string                    held;       // text that was withheld because it may begin a stop string
    std::shared_ptr<lc_constraint> constraint; // if a grammar holds
};

struct lc_request {
    int64_t                    id          = 0;
    bool                       stream      = false;
    bool                       want_tokens = false;
    size_t                     n_open      = 0; // generations or inputs without their last event
    std::vector<int>           task_ids;
    std::vector<lc_generation> generations;
};

// An event and the bytes that it points to.
struct lc_stored_event {
    lc_event    event{};
    std::string data;
};

struct lc_plan {
    json                      params = json::object(); // constraint and parser, as llama-server's fields
    std::string               prompt;                  // rendered text, for chat
    std::vector<llama_tokens> prompts;                 // one per input
    std::vector<raw_buffer>   media;                   // files in the places of the prompt's markers
    std::string               format;                  // names what params were planned for
    std::string               info;                    // made when asked for
};

struct lc_parser {
    task_result_state state;
    std::string       out;
    explicit lc_parser(const common_chat_parser_params & params) : state(params) {}
};

// What a template makes of tools and reasoning: costly to find out, and the same for every conversation.
class lc_formats {
  public:
    // Gives the fields for a key, or null; remembers those used last.
    const json * find(const std::string & key);
    void         keep(const std::string & key, json fields);

  private:
    std::list<std::pair<std::string, json>> entries; // used last first
};

struct lc_engine;

// The LoRA adapters by the numbers that requests give, none of which is used twice, and who may still begin with one.
struct lc_adapter_table {
    struct entry {
        int     place   = 0;
        int64_t n_held  = 0;
        bool    leaving = false;
    };

    std::mutex                         mutex; // guards what follows
    std::unordered_map<int32_t, entry> entries;
    int32_t                            next   = 0;
    lc_engine *                        engine = nullptr; // null once it is closing
};

struct lc_engine {
    common_params                        params;
    server_context                       context;
    lc_packed                            packed; // ends before the context, whose weights it describes
    std::unique_ptr<server_context_meta> meta;
    const llama_vocab *                  vocab = nullptr;
    std::string                          info;

    std::shared_ptr<lc_adapter_table>  adapters = std::make_shared<lc_adapter_table>();
    std::unique_ptr<lc_special_tokens> special;
    lc_token_cache                     token_cache;
    std::unique_ptr<lc_template>       chat_template;
    std::unique_ptr<lc_template>       tool_template; // some models bring a second one for tools
    std::mutex                         formats_mutex;
    lc_formats                         formats;

    // The way to the task queue and the result queue, which server_context keeps private.
    std::unique_ptr<server_response_reader> queues;

    int64_t           process = 0; // the one that opened it
    std::thread       loop;
    std::atomic<bool> loop_ended{ false };
    std::atomic<bool> closing{ false };
    std::atomic<int>  n_waiting{ 0 }; // threads that wait for a result of their own
    std::string       loop_error; // written before loop_ended is set

    std::mutex                                               mutex; // guards what follows
    std::unordered_map<int64_t, std::shared_ptr<lc_request>> requests;
    std::unordered_map<int, std::pair<int64_t, int>>         tasks; // task id -> request, index
    std::unordered_set<int>                                  ids;   // of the tasks, and the wake-up
    bool                                                     ids_changed = true;
    int                                                      wake_id     = -1;

    // Only the thread inside lc_engine_take() touches these.
    std::unordered_set<int>      watched;
    std::vector<lc_stored_event> stored;
    std::vector<lc_event>        events;

    void wake();
    void drop(int64_t request); // with the mutex held: forgets a request and cancels what it still runs
};

int64_t lc_process_id();

// engine_ref.cpp: puts an engine into its place, and keeps it in memory for as long as a call runs.
void                       lc_put(lc_engine_ref & ref, std::unique_ptr<lc_engine> engine);
std::shared_ptr<lc_engine> lc_hold(lc_engine_ref * ref);      // throws lc_exception "closed"
std::shared_ptr<lc_engine> lc_hold_open(lc_engine_ref * ref); // null when it is closed

// adapters.cpp: a request's "lora" by places in the server core's list, in place of numbers.
json     lc_adapter_places(lc_engine & engine, const json & request);
uint64_t lc_adapter_bytes(const llama_adapter_lora * adapter); // memory that it takes

// options.cpp: llama-server's options into common_params, without its exits and side channels.
void lc_apply_options(common_params & params, const json & options);

// Lets a grammar, if there is one, know how many tokens the answer may have; -1: no bound. Throws what is wrong with it.
std::shared_ptr<lc_constraint> lc_constrain(const lc_engine & engine, common_params_sampling & sampling, int32_t budget);

// results.cpp: one result of the server core into events.
void lc_store_result(lc_engine & engine, server_task_result & result);
void lc_store_error(lc_engine & engine, int64_t request, const json & error);
