// KV caches whose pages become resident on first use (Linux; elsewhere nothing happens here).
#pragma once

#include "llama.h"

// Call on the loading thread: before a load, and after it, which makes the memory of the first tokens of every
// request resident, so that short requests never wait for the kernel and never change what the process holds.
void lc_watch_caches();
void lc_populate_caches(const llama_model * model, const llama_context * ctx);
