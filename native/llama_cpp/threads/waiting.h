// How the threads of a pool wait for one another, and how many of them a graph gets.
//
// Waiting. ggml's barriers spin. As long as each thread has a core that is the fastest way: the others are a few
// microseconds behind. When a core is taken away (another program, another model), the thread that computes may
// be the one that does not run, and the spinning one keeps it from running. So a barrier spins for a bounded
// time and then sleeps in the kernel, which gives its core to whoever can use it.
//
// How many. Threads in excess of the free cores make every barrier wait for a turn of the scheduler. A graph
// therefore gets its share of the pool's threads when other pools of this process compute at the same time, and
// fewer when its barriers lately lost more time than a thread less would cost; every now and then it tries
// one more.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#ifndef _WIN32
#    include <time.h>
#endif
#if defined(__linux__)
#    include <limits.h>
#    include <linux/futex.h>
#    include <sys/syscall.h>
#    include <unistd.h>
#elif !defined(_WIN32)
#    include <sched.h>
#    include <unistd.h>
#endif

enum {
    LC_SPIN_NS         = 100 * 1000,      // at a barrier, before sleeping
    LC_POLL_NS         = 1000 * 1000,     // for the next graph, before sleeping
    LC_WINDOW_NS       = 10 * 1000 * 1000, // over which the time lost is judged
    LC_HOLD_MIN_NS     = 40 * 1000 * 1000, // before one more thread is tried
    LC_HOLD_MAX_NS     = 640 * 1000 * 1000,
    LC_BETWEEN_NS      = 1000 * 1000,     // a pool that computed so lately still counts as computing
    LC_MAX_POOLS       = 64,              // that share the machine; further ones do not count
    LC_MAX_IDLE        = 8,               // pools that are kept for contexts without one
    LC_ROUNDS_PER_LOOK = 32,              // rounds of spinning between two looks at the clock
};

struct lc_waiting {
    atomic_int           sleepers; // at the barrier
    atomic_uint_fast64_t lost_ns;  // in barriers that outlasted the spinning, since the window began
    uint64_t             graph_start, computed_ns; // of this window
    uint64_t             hold_ns, retry_at;
    int                  allowed, threads; // at most, now; 0: all
    int                  slot;             // in lc_pools; -1: none
};

static inline uint64_t lc_now(void) {
#ifdef _WIN32
    LARGE_INTEGER count, per_second;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&per_second);
    return (uint64_t) ((double) count.QuadPart * 1e9 / (double) per_second.QuadPart);
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
#endif
}

static inline int lc_process(void) {
#ifdef _WIN32
    return (int) GetCurrentProcessId();
#else
    return (int) getpid();
#endif
}

static inline void lc_sleep_while(atomic_int * value, int old) {
#if defined(__linux__)
    syscall(SYS_futex, (int *) value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
#elif defined(_WIN32)
    (void) value;
    (void) old;
    SwitchToThread();
#else
    (void) value;
    (void) old;
    sched_yield();
#endif
}

static inline void lc_wake(struct lc_waiting * lc, atomic_int * value) {
    if (atomic_load_explicit(&lc->sleepers, memory_order_seq_cst) > 0) {
#if defined(__linux__)
        syscall(SYS_futex, (int *) value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#else
        (void) value;
#endif
    }
}

static inline void lc_init(struct lc_waiting * lc) {
    atomic_store(&lc->sleepers, 0);
    atomic_store(&lc->lost_ns, 0);
    lc->graph_start = lc->computed_ns = lc->retry_at = 0;
    lc->hold_ns = LC_HOLD_MIN_NS;
    lc->allowed = lc->threads = 0;
    lc->slot = -1;
}
