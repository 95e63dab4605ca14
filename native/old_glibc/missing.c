// What llama.cpp and the C++ library of today ask of glibc and an older one does not have (old_glibc.cmake). A symbol
// here is found before glibc's, and is seen by this module alone.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Since 2.32. "No" costs an atomic instruction where a plain one would do.
char __libc_single_threaded = 0;

// Since 2.36; std::random_device.
uint32_t arc4random(void) {
    uint32_t value = 0;
    if (getentropy(&value, sizeof(value)) != 0) {
        abort();
    }
    return value;
}

// Since 2.30; waiting for a time of the steady clock. The wait is as long by the other clock, which somebody may set
// meanwhile: after a second at most it ends as if it had been woken, and who waits looks at the steady clock again.
int pthread_cond_clockwait(pthread_cond_t * cond, pthread_mutex_t * mutex, clockid_t clock, const struct timespec * until) {
    if (clock == CLOCK_REALTIME) {
        return pthread_cond_timedwait(cond, mutex, until);
    }
    struct timespec now, real;
    clock_gettime(clock, &now);
    clock_gettime(CLOCK_REALTIME, &real);
    const int is_long = until->tv_sec - now.tv_sec > 1;
    if (is_long) {
        real.tv_sec += 1;
        const int result = pthread_cond_timedwait(cond, mutex, &real);
        return result == ETIMEDOUT ? 0 : result;
    }
    real.tv_sec += until->tv_sec - now.tv_sec;
    real.tv_nsec += until->tv_nsec - now.tv_nsec;
    if (real.tv_nsec < 0) {
        real.tv_sec -= 1;
        real.tv_nsec += 1000000000;
    } else if (real.tv_nsec >= 1000000000) {
        real.tv_sec += 1;
        real.tv_nsec -= 1000000000;
    }
    return pthread_cond_timedwait(cond, mutex, &real);
}

// Since 2.29; asked once, when threads are spread over memory nodes.
int getcpu(unsigned int * cpu, unsigned int * node) { return (int) syscall(SYS_getcpu, cpu, node, NULL); }

// Since 2.29; part of llama.cpp's server, for programs that it starts. Nothing here starts any.
int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t * actions, const char * path) {
    (void) actions, (void) path;
    return ENOSYS;
}
