// What threads.c offers to the rest of the module.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// Ends the threads that wait for a context without a pool of its own to compute again.
void lc_end_idle_threads(void);

// Whether this thread is computing a graph together with others.
int lc_is_computing(void);

#ifdef __cplusplus
}
#endif
