// What the engine sets about prefixes.
#pragma once

#include <cstdint>
#include <string>

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
