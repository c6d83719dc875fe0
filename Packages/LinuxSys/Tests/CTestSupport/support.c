#define _GNU_SOURCE
#include "ctestsupport.h"
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) int test_overflow(int depth) {
    volatile char frame[1024];
    frame[depth % 1024] = 1;
    return test_overflow(depth + 1) + frame[depth % 1024];
}

int test_signal_of_overflow(void (*body)(void)) {
    pid_t child = fork();
    if (child == 0) {
        body();
        _exit(test_overflow(0) & 1);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int test_current_cpu(void) { return sched_getcpu(); }

int test_stay_on_cpu(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set);
}
