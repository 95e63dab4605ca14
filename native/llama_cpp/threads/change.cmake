# The waiting of ggml's threads goes through threads.c, which is compiled with a copy of ggml-cpu.c around it.
if(NOT GGML_OPENMP)
  llama_cpp_edit(ggml_cpu_c FILE ggml/src/ggml-cpu/ggml-cpu.c
    # every pool keeps how it waits
    FROM [==[    enum ggml_status ec;
};
]==]
    TO [==[    enum ggml_status ec;
    struct lc_waiting lc;
};
]==]
    # the end of a barrier wakes who sleeps at it
    FROM [==[        atomic_fetch_add_explicit(&tp->n_barrier_passed, 1, memory_order_seq_cst);
        return;
]==]
    TO [==[        atomic_fetch_add_explicit(&tp->n_barrier_passed, 1, memory_order_seq_cst);
        lc_wake(&tp->lc, &tp->n_barrier_passed);
        return;
]==]
    # a barrier spins for a while, then sleeps
    FROM [==[    while (atomic_load_explicit(&tp->n_barrier_passed, memory_order_relaxed) == n_passed) {
        ggml_thread_cpu_relax();
    }
]==]
    TO [==[    lc_wait(&tp->lc, &tp->n_barrier_passed, n_passed, n_threads);
]==]
    # a thread without work spins for a time, not for a number of rounds
    FROM [==[!ggml_graph_compute_thread_ready(state) && i < n_rounds; i++) {]==]
    TO [==[!ggml_graph_compute_thread_ready(state) && i < n_rounds && lc_keep_polling(i, &lc_start); i++) {]==]
    FROM [==[    const uint64_t n_rounds = 1024UL * 128 * threadpool->poll;
]==]
    TO [==[    const uint64_t n_rounds = 1024UL * 128 * threadpool->poll;
    uint64_t lc_start = 0;
]==]
    # a caller without a pool gets one that is kept, instead of threads for one graph
    FROM [==[    struct ggml_threadpool * threadpool = cplan->threadpool;

    bool disposable_threadpool = false;
]==]
    TO [==[    struct ggml_threadpool * lc_borrowed = cplan->threadpool ? NULL : lc_borrow_pool(n_threads);
    struct ggml_threadpool * threadpool = lc_borrowed ? lc_borrowed : cplan->threadpool;

    bool disposable_threadpool = false;
]==]
    # how many threads a graph gets follows the load
    FROM [==[    ggml_graph_compute_kickoff(threadpool, n_threads);

    // This is a work thread too
]==]
    TO [==[    n_threads = lc_graph_begins(&threadpool->lc, n_threads);
    if (n_threads == 1) {
        lc_start_alone(threadpool);
    } else {
        ggml_graph_compute_kickoff(threadpool, n_threads);
    }

    // This is a work thread too
]==]
    # room for attention that is cut (attention/)
    FROM [==[                        cur += MAX(prefill, decode);
]==]
    TO [==[                        cur += MAX(MAX(prefill, decode), lc_attention_room(node));
]==]
    # what an encoder computes at once (encoders/)
    FROM [==[    if (node->op == GGML_OP_RMS_NORM) {
        // RMS_NORM + MUL fusion
]==]
    TO [==[    const int lc_fused = lc_fuse(cgraph, node_n, params);
    if (lc_fused > 0) {
        return lc_fused;
    }
    if (node->op == GGML_OP_RMS_NORM) {
]==]
    FROM [==[    enum ggml_status ret = threadpool->ec;
]==]
    TO [==[    enum ggml_status ret = threadpool->ec;
    lc_graph_ends(&threadpool->lc);
    if (lc_borrowed) {
        lc_return_pool(lc_borrowed);
    }
]==]
    FROM [==[        threadpool->ec               = GGML_STATUS_SUCCESS;
    }

    // Allocate and init workers state
]==]
    TO [==[        threadpool->ec               = GGML_STATUS_SUCCESS;
        lc_init(&threadpool->lc);
    }

    // Allocate and init workers state
]==]
  )
  if(ggml_cpu_c)
    set(LLAMACPP_OWN_THREADS ON)
    llama_cpp_cpu_targets(targets)
    foreach(target IN LISTS targets)
      llama_cpp_replace_source(${target} ggml-cpu/ggml-cpu.c "${llama_cpp_changes_dir}/threads/threads.c")
      target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/llama_cpp_changes")
    endforeach()
  endif()
else()
  set_property(GLOBAL PROPERTY llama_cpp_change_is_made FALSE)
endif()
