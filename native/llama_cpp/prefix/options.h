// What the engine sets about prefixes.
#pragma once

#include <cstdint>
#include <string>

struct llama_adapter_lora;
struct server_context;

// The value of ngram_simple.min_hits that asks for drafts only where they pay.
constexpr uint16_t lc_where_it_pays = 65535;

// The value of task_params::n_cache_reuse that asks for the same tokens whatever runs beside and is cached.
constexpr int lc_deterministic = -1;

// Once, after the model was loaded and before the loop begins.
void lc_prefix_configure(server_context & context);

// Keeps beginnings of prompts in a folder, this many bytes at most, from any thread. An empty name: no longer.
// The fingerprint tells models and load options apart whose caches are not the same.
void lc_prefix_use_folder(server_context & context, const std::string & folder, uint64_t max_bytes,
                          const std::string & fingerprint);

// A LoRA adapter joins the list of the server core, from any thread; the model owns it. Returns its place, by which tasks
// that are posted from now on may name it.
int lc_prefix_add_adapter(server_context & context, llama_adapter_lora * adapter);
// An adapter leaves the list and is freed once no slot computes with it. No task may be posted that names it.
void lc_prefix_remove_adapter(server_context & context, int place);
