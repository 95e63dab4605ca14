// llama.cpp's ggml-cpu.c with the waiting of waiting.h; change.cmake makes the copy that is included here.
#include "ggml-cpu-impl.h" // brings windows.h where it is needed, as ggml-cpu.c does
#include "threads.h"
#include "waiting.h"

#ifdef _MSC_VER
#define LC_THREAD_LOCAL __declspec(thread)
#else
#define LC_THREAD_LOCAL _Thread_local
#endif

struct ggml_threadpool;

size_t lc_attention_room(struct ggml_tensor * attention); // in attention/attention.cpp
int    lc_fuse(const struct ggml_cgraph * graph, int node, const struct ggml_compute_params * params); // encoders/encoders.cpp

static void lc_wait(struct lc_waiting * lc, atomic_int * value, int old, int n_threads);
static bool lc_keep_polling(uint64_t round, uint64_t * start);
static int  lc_graph_begins(struct lc_waiting * lc, int n_threads);
static void lc_graph_ends(struct lc_waiting * lc);
static void lc_start_alone(struct ggml_threadpool * pool);
static struct ggml_threadpool * lc_borrow_pool(int n_threads);
static void lc_return_pool(struct ggml_threadpool * pool);

#include "ggml/src/ggml-cpu/ggml-cpu.c"

// Waits until *value is no longer `old`: spinning, then asleep.
static void lc_wait(struct lc_waiting * lc, atomic_int * value, int old, int n_threads) {
    uint64_t start = 0, now = 0;
    for (int i = 1; now - start < LC_SPIN_NS; i++) {
        if (atomic_load_explicit(value, memory_order_relaxed) != old) {
            return;
        }
        ggml_thread_cpu_relax();
        if (i % LC_ROUNDS_PER_LOOK == 0) {
            now   = lc_now();
            start = start ? start : now;
        }
    }
    atomic_fetch_add_explicit(&lc->sleepers, 1, memory_order_seq_cst);
    while (atomic_load_explicit(value, memory_order_seq_cst) == old) {
        lc_sleep_while(value, old);
    }
    atomic_fetch_sub_explicit(&lc->sleepers, 1, memory_order_relaxed);
    // those who wait lose the same time, one beside the other
    atomic_fetch_add_explicit(&lc->lost_ns, (lc_now() - start) / (uint64_t) (n_threads - 1), memory_order_relaxed);
}

// Whether a thread without work goes on spinning.
static bool lc_keep_polling(uint64_t round, uint64_t * start) {
    if (round % LC_ROUNDS_PER_LOOK != 0) {
        return true;
    }
    const uint64_t now = lc_now();
    *start             = *start ? *start : now;
    return now - *start < LC_POLL_NS;
}

// For each pool that computes or did so lately: UINT64_MAX while it computes, else when it ended.
static atomic_uint_fast64_t lc_pools[LC_MAX_POOLS];

// How many other pools compute now or did so a moment ago.
static int lc_others(int own_slot, uint64_t now) {
    int n = 0;
    for (int i = 0; i < LC_MAX_POOLS; i++) {
        const uint64_t ended = atomic_load_explicit(&lc_pools[i], memory_order_relaxed);
        n += i != own_slot && ended != 0 && (ended == UINT64_MAX || now - ended < LC_BETWEEN_NS);
    }
    return n;
}

// Marks this pool as computing, in a slot of its own while it does.
static int lc_take_slot(int slot, uint64_t now) {
    for (int i = 0; i < LC_MAX_POOLS; i++) {
        const int      at    = (slot < 0 ? i : (slot + i) % LC_MAX_POOLS);
        uint_fast64_t  ended = atomic_load_explicit(&lc_pools[at], memory_order_relaxed);
        const bool     free  = ended != UINT64_MAX && (at == slot || now - ended >= LC_BETWEEN_NS);
        if (free && atomic_compare_exchange_strong(&lc_pools[at], &ended, UINT64_MAX)) {
            return at;
        }
    }
    return -1;
}

// What a forked process sees of its parent's pools says nothing.
static void lc_forget_parent(void) {
    static atomic_int process;
    const int         own = lc_process();
    if (atomic_exchange_explicit(&process, own, memory_order_relaxed) != own) {
        for (int i = 0; i < LC_MAX_POOLS; i++) {
            atomic_store_explicit(&lc_pools[i], 0, memory_order_relaxed);
        }
    }
}

static LC_THREAD_LOCAL int lc_shared_graphs; // that this thread is computing with others

int lc_is_computing(void) { return lc_shared_graphs; }

static int lc_graph_begins(struct lc_waiting * lc, int n_threads) {
    const uint64_t now = lc_now();
    lc_forget_parent();
    lc->slot           = lc_take_slot(lc->slot, now);
    lc->graph_start    = now;

    if (lc->allowed && now >= lc->retry_at) { // try one more
        lc->allowed     = lc->allowed + 1 < n_threads ? lc->allowed + 1 : 0;
        lc->computed_ns = 0;
        atomic_store_explicit(&lc->lost_ns, 0, memory_order_relaxed);
    }
    int threads = n_threads / (1 + lc_others(lc->slot, now));
    if (lc->allowed && threads > lc->allowed) {
        threads = lc->allowed;
    }
    lc->threads = threads < 1 ? 1 : threads;
    lc_shared_graphs += lc->threads > 1;
    return lc->threads;
}

static void lc_graph_ends(struct lc_waiting * lc) {
    const uint64_t now = lc_now();
    lc_shared_graphs -= lc->threads > 1;
    if (lc->slot >= 0) {
        atomic_store_explicit(&lc_pools[lc->slot], now, memory_order_relaxed);
    }
    if (lc->threads < 2) {
        return;
    }
    lc->computed_ns += now - lc->graph_start;
    if (lc->computed_ns < LC_WINDOW_NS) {
        return;
    }
    const double lost = (double) atomic_exchange_explicit(&lc->lost_ns, 0, memory_order_relaxed) /
                        (double) lc->computed_ns;
    if (lost > 1.0 / lc->threads + 0.05) { // a thread less costs 1 / threads
        lc->allowed  = lc->threads - 1;
        lc->retry_at = now + lc->hold_ns;
        lc->hold_ns  = lc->hold_ns * 2 < LC_HOLD_MAX_NS ? lc->hold_ns * 2 : LC_HOLD_MAX_NS;
    } else {
        lc->hold_ns = LC_HOLD_MIN_NS;
    }
    lc->computed_ns = 0;
}

// Starts a graph on the calling thread alone: nobody is woken.
static void lc_start_alone(struct ggml_threadpool * pool) {
    const int n_graph = atomic_load_explicit(&pool->n_graph, memory_order_relaxed) >> GGML_THREADPOOL_N_THREADS_BITS;
    atomic_store_explicit(&pool->n_graph, ((n_graph + 1) << GGML_THREADPOOL_N_THREADS_BITS) | 1, memory_order_seq_cst);
}

// Pools for contexts that were given none. The threads of those in here sleep until one is borrowed again.
static struct {
    atomic_flag              lock;
    int                      n;
    struct ggml_threadpool * pools[LC_MAX_IDLE];
} lc_idle = { ATOMIC_FLAG_INIT, 0, { NULL } };

#if !defined(_WIN32) && !defined(GGML_BACKEND_DL) // of several CPU modules each would take ggml's lock
// A fork takes one thread along. It holds ggml's lock while it forks, so that no other does; the threads of the pools stay
// behind, and so may one that held the lock of these.
static void lc_before_fork(void) { ggml_critical_section_start(); }
static void lc_after_fork(void) { ggml_critical_section_end(); }
static void lc_in_child(void) {
    lc_idle.n = 0;
    atomic_flag_clear_explicit(&lc_idle.lock, memory_order_relaxed);
    ggml_critical_section_end();
}

__attribute__((constructor)) static void lc_watch_forks(void) {
    pthread_atfork(lc_before_fork, lc_after_fork, lc_in_child);
}
#endif

static void lc_lock_idle(void) {
    while (atomic_flag_test_and_set_explicit(&lc_idle.lock, memory_order_acquire)) {
        ggml_thread_cpu_relax();
    }
}

static void lc_unlock_idle(void) { atomic_flag_clear_explicit(&lc_idle.lock, memory_order_release); }

static struct ggml_threadpool * lc_borrow_pool(int n_threads) {
    struct ggml_threadpool * found = NULL;
    lc_lock_idle();
    for (int i = 0; i < lc_idle.n && !found; i++) {
        if (lc_idle.pools[i]->n_threads == n_threads) {
            found            = lc_idle.pools[i];
            lc_idle.pools[i] = lc_idle.pools[--lc_idle.n];
        }
    }
    lc_unlock_idle();
    if (!found) {
        struct ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
        found                                = ggml_threadpool_new(&params);
    }
    return found;
}

static void lc_return_pool(struct ggml_threadpool * pool) {
    lc_lock_idle();
    const bool kept = lc_idle.n < LC_MAX_IDLE;
    if (kept) {
        lc_idle.pools[lc_idle.n++] = pool;
    }
    lc_unlock_idle();
    if (!kept) {
        ggml_threadpool_free(pool);
    }
}

void lc_end_idle_threads(void) {
    struct ggml_threadpool * pools[LC_MAX_IDLE];
    lc_lock_idle();
    const int n = lc_idle.n;
    memcpy(pools, lc_idle.pools, sizeof(pools));
    lc_idle.n = 0;
    lc_unlock_idle();
    for (int i = 0; i < n; i++) {
        ggml_threadpool_free(pools[i]);
    }
}
