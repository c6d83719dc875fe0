// Stream sockets of peers that nobody waits for, and how many descriptors this process may have. Results as in clinuxsys.h: the call's result, or -errno.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

// What is there now, into `count` vectors; 0: the peer sends no more.
long sys_receive_vectors(int fd, const struct iovec *_Nonnull vectors, size_t count);
// What the socket takes now of `count` vectors; no signal when the peer is gone.
long sys_send_vectors(int fd, const struct iovec *_Nonnull vectors, size_t count);
// As sys_receive_vectors, and the bytes stay where they are.
long sys_peek(int fd, void *_Nullable buffer, size_t count);
long sys_shutdown(int fd, bool receiving, bool sending);

// Raises RLIMIT_NOFILE to `wanted`, as far as the hard limit goes; what it is afterwards.
long sys_raise_descriptor_limit(unsigned long wanted);
