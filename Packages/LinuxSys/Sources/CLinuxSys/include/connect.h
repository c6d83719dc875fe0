// Outgoing TCP connections, and timers as descriptors. Results as in clinuxsys.h: the call's result, or -errno.
#pragma once
#include <stdint.h>

// A socket whose connection to a numeric IPv4 or IPv6 address is made or under way (non-blocking, close-on-exec): -EINVAL when `host` is none.
long sys_tcp_connect(const char *_Nonnull host, uint16_t port);
// What became of a connection that was under way: 0, or -errno. The error is reported once.
long sys_socket_error(int fd);
// For a console: small pieces go out at once, and a peer that vanished without a word is noticed within about a minute.
void sys_tcp_tune(int fd);

long sys_timerfd(void);
// Once, after `nanoseconds` (CLOCK_MONOTONIC); 0 stops it.
long sys_timerfd_arm(int fd, uint64_t nanoseconds);
