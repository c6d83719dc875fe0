#define _GNU_SOURCE
#include "frames.h"
#include <errno.h>
#include <sys/socket.h>

long sys_receive_now(int fd, void *buffer, size_t count) {
    long result = recv(fd, buffer, count, MSG_DONTWAIT);
    return result < 0 ? -(long)errno : result;
}

long sys_send_now(int fd, const struct iovec *vectors, int count) {
    struct msghdr message = { .msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)count };
    long result = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return result < 0 ? -(long)errno : result;
}

long sys_stream_listens(int fd) {
    int type = 0, listens = 0;
    socklen_t length = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0) return -(long)errno;
    if (type != SOCK_STREAM) return -(long)EPROTOTYPE;
    length = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0) return -(long)errno;
    if (listens) return 1;
    struct sockaddr_storage address;
    length = sizeof address;
    return getpeername(fd, (struct sockaddr *)&address, &length) < 0 ? -(long)errno : 0;
}

void sys_shut_down(int fd) { shutdown(fd, SHUT_RDWR); }
