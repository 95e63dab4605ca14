// Pages of a model's file that nothing reads any more (systems with mmap; elsewhere nothing happens here).
#pragma once

#include "llama.h"

// Call after a load, once weights were packed: pages of the mapped file whose weights were copied into another layout
// (AMX's, repacked, packed) are given back. Whoever does read them gets them from the file again.
void lc_drop_copied_pages(const llama_model * model);
