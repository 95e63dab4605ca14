// Plans: a request's prompts as tokens, and what it asks of the sampler and the parser. Plain C declarations: read
// by cffi too. Implemented in plan.cpp, chat_plan.cpp and written_plan.cpp.
#pragma once

#include "engine.h"

enum lc_task_kind {
    LC_TASK_COMPLETION = 0,
    LC_TASK_EMBEDDING  = 1,
    LC_TASK_RERANK     = 2,
};

// Tools for prompts of one engine: a JSON array in OpenAI's form. They can be used for any number of plans.
lc_tools * lc_tools_new(const char * text, size_t size);
void       lc_tools_free(lc_tools * tools);

// A request is planned, then submitted. A plan is used once and freed by its owner.
// tools: null for none. body: JSON, the fields of chat_request in chat_plan.cpp.
lc_plan * lc_plan_chat(lc_engine_ref * engine, lc_tools * tools, const char * body, size_t size);
// n_prompts token lists, one after the other, with their lengths.
lc_plan * lc_plan_tokens(lc_engine_ref * engine, const int32_t * tokens, const int32_t * lengths, int32_t n_prompts);
lc_plan * lc_plan_rerank(lc_engine_ref * engine, const char * body, size_t size);
// A prompt that Python wrote. body: JSON {"text", "mark", "prefill", "add_bos"}. A control token with a mark after
// its first character is read as text, and so is the prefill, which goes to the end.
lc_plan * lc_plan_written(lc_engine_ref * engine, const char * body, size_t size);
void      lc_plan_free(lc_plan * plan);
// Puts marks into the control tokens in all texts of a value, but into those of the spared ones. body: JSON {"value",
// "mark", "spared"}. Returns JSON {"value", "found"}, valid until the next call on this thread.
const char * lc_mark_control_tokens(lc_engine_ref * engine, const char * body, size_t size);
// format_key, with an addition where the conversation begins the answer in a way of its own.
const char * lc_plan_format(lc_plan * plan);
// JSON: prompt, n_media, and the fields that the template's format brings. Owned by the plan.
const char *    lc_plan_info(lc_plan * plan);
const int32_t * lc_plan_prompt(lc_plan * plan, int32_t index, size_t * n_tokens);
int32_t         lc_plan_n_prompts(lc_plan * plan);

// request: a number that the caller has not used yet. params: JSON with llama-server's sampling
// fields, merged over the plan's own. Returns 0, or -1.
int32_t lc_submit(lc_engine_ref * engine, lc_plan * plan, int64_t request, int32_t kind, const char * params, size_t size);
