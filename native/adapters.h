// LoRA adapters beside running requests. Plain C declarations: read by cffi too.
#pragma once

#include "engine.h"

typedef struct lc_adapter_hold lc_adapter_hold;

// Reads an adapter's file for this model; requests may name it from now on, and none uses it otherwise. Puts the memory
// that it takes into bytes. Returns its number, or -1. Those given at the start have the numbers 0, 1, ...; none is
// used twice.
int32_t lc_adapter_load(lc_engine_ref * engine, const char * path, uint64_t * bytes);
// No request may name it from now on. It is freed when the last one that does has ended. Returns 0, or -1.
int32_t lc_adapter_unload(lc_engine_ref * engine, int32_t adapter);
// Keeps adapters for a request that will name them, or null: one of them was unloaded.
lc_adapter_hold * lc_adapter_hold_new(lc_engine_ref * engine, const int32_t * adapters, int32_t n_adapters);
void              lc_adapter_hold_free(lc_adapter_hold * hold);
