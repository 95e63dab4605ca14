// The slots of an engine. Plain C declarations: read by cffi too.
#pragma once

#include "engine.h"

// Writes what a slot remembers of a task, as its last event names both, to a file of llama.cpp's. Waits until the slot is
// idle, timeout_s at most. Returns the number of tokens, or -1: also if the slot has something else by then.
int32_t lc_slot_save(lc_engine_ref * engine, int32_t slot, int32_t task, const char * path, int32_t timeout_s);
// Reads such a file into a slot, in the same way.
int32_t lc_slot_restore(lc_engine_ref * engine, int32_t slot, const char * path, int32_t timeout_s);
// Keeps beginnings of prompts in a folder, max_bytes at most, for the next process; an empty name: no longer.
// fingerprint: differs for models and options whose caches differ. Returns 0, or -1.
int32_t lc_engine_keep_prompts(lc_engine_ref * engine, const char * folder, uint64_t max_bytes, const char * fingerprint);
