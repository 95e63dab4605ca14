// A model's set of adapters may grow and shrink while contexts ask it how many there are.
#pragma once

#include <mutex>

inline std::mutex & lc_adapters_lock() {
    static std::mutex mutex;
    return mutex;
}
