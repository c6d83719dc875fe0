// Stream sockets that carry frames (QEMU's -netdev stream). Results as in clinuxsys.h: the call's result, or -errno. No call waits, whatever the flags of the open file
// say, which another process may share; none raises SIGPIPE.
#pragma once
#include <stddef.h>
#include <sys/uio.h>

long sys_receive_now(int fd, void *_Nonnull buffer, size_t count);
long sys_send_now(int fd, const struct iovec *_Nonnull vectors, int count);
// 1 for a stream socket that listens, 0 for one that is connected; -EPROTOTYPE for another kind of socket, -ENOTCONN for one that is neither.
long sys_stream_listens(int fd);
// Both directions: the other end, and whoever polls this one, see a hang-up.
void sys_shut_down(int fd);
