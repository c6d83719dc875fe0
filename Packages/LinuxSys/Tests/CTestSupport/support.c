#include "ctestsupport.h"
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
