// TCP sockets. Results as in clinuxsys.h: the call's result, or -errno.
#pragma once
#include <stdint.h>

// Both take a numeric IPv4 or IPv6 address (-EINVAL when `host` is none); sockets are non-blocking and close-on-exec.
long sys_tcp_listen(const char *_Nonnull host, uint16_t port, int backlog);
// The connection is made or under way.
long sys_tcp_connect(const char *_Nonnull host, uint16_t port);
// What became of a connection that was under way: 0, or -errno. The error is reported once.
long sys_socket_error(int fd);
// For a console: small pieces go out at once, and a peer that vanished without a word is noticed within about a minute.
void sys_tcp_tune(int fd);
