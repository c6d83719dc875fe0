// Timers as descriptors. Results as in clinuxsys.h: the call's result, or -errno.
#pragma once
#include <stdint.h>

long sys_timerfd(void);
// Once, after `nanoseconds` (CLOCK_MONOTONIC); 0 stops it.
long sys_timerfd_arm(int fd, uint64_t nanoseconds);
