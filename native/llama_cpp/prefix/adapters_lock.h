// A model's set of adapters may grow and shrink while contexts ask it how many there are.
#pragma once

#include "llama_cpp/per_process.h"

#include <mutex>

inline lc_per_process<std::mutex> lc_adapters_mutex;

inline std::mutex & lc_adapters_lock() { return *lc_adapters_mutex; }
