#define _GNU_SOURCE
#include "timer.h"
#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>

long sys_timerfd(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return fd < 0 ? -(long)errno : fd;
}

long sys_timerfd_arm(int fd, uint64_t nanoseconds) {
    struct itimerspec time = { .it_value = { .tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000) } };
    return timerfd_settime(fd, 0, &time, NULL) < 0 ? -(long)errno : 0;
}
