// Mends three things about the tiles of AMX where llama.cpp computes with them (amx/mmq.cpp). Says nothing
// when another CPU is compiled for.
//
// 1. _tile_loadconfig() and _tile_storeconfig() move 64 bytes. GCC 11 to 13 (GCC bug 114098; fixed in 14 and
//    in the last releases of these) tells its optimiser of 8: the stores of the other 56 are dropped as dead,
//    and the processor refuses what is left with a protection fault, in the first product of a quantised model.
// 2. _tile_loadd() tells GCC, 14 too, of no memory: a store to what it reads could move past it.
// 3. llama.cpp configures the tiles of a thread once. Another library that computes with them on the same
//    thread (oneDNN in torch or onnxruntime releases them after each product) would leave the next product of
//    llama.cpp with an illegal instruction.
#pragma once

#if defined(__x86_64__) && defined(__AMX_TILE__)

#include <immintrin.h>

#include <cstring>

#if defined(__GNUC__) && !defined(__clang__)

inline void lc_tile_load(const void * config) {
    __asm__ volatile("ldtilecfg %0" : : "m"(*(const char(*)[64]) config));
}

inline void lc_tile_store(void * config) {
    __asm__ volatile("sttilecfg %0" : "=m"(*(char(*)[64]) config));
}

#undef _tile_loadd
#define _tile_loadd(tile, base, stride)           \
    do {                                          \
        __asm__ volatile("" : : : "memory");      \
        _tile_loadd_internal(tile, base, stride); \
    } while (0)

#undef _tile_stream_loadd
#define _tile_stream_loadd(tile, base, stride)           \
    do {                                                 \
        __asm__ volatile("" : : : "memory");             \
        _tile_stream_loadd_internal(tile, base, stride); \
    } while (0)

#else

inline void lc_tile_load(const void * config) { _tile_loadconfig(config); }
inline void lc_tile_store(void * config) { _tile_storeconfig(config); }

#endif

// What this thread gave to _tile_loadconfig() last.
inline thread_local char lc_tile_config[64];

inline void lc_tile_load_and_keep(const void * config) {
    memcpy(lc_tile_config, config, sizeof(lc_tile_config));
    lc_tile_load(config);
}

// Puts this thread's configuration back if it is another by now; true, so that it fits into a condition.
inline bool lc_tiles_are_ours() {
    alignas(64) char now[64];
    lc_tile_store(now);
    if (memcmp(now, lc_tile_config, sizeof(now)) != 0) {
        lc_tile_load(lc_tile_config);
    }
    return true;
}

#define _tile_loadconfig(config)  lc_tile_load_and_keep(config)
#define _tile_storeconfig(config) lc_tile_store(config)

#endif
