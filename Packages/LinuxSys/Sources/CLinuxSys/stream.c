#define _GNU_SOURCE
#include "stream.h"
#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>

long sys_receive_vectors(int fd, const struct iovec *vectors, size_t count) {
    struct msghdr message = { .msg_iov = (struct iovec *)vectors, .msg_iovlen = count };
    ssize_t result;
    do result = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -(long)errno : result;
}

long sys_send_vectors(int fd, const struct iovec *vectors, size_t count) {
    struct msghdr message = { .msg_iov = (struct iovec *)vectors, .msg_iovlen = count };
    ssize_t result;
    do result = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -(long)errno : result;
}

long sys_peek(int fd, void *buffer, size_t count) {
    ssize_t result;
    do result = recv(fd, buffer, count, MSG_PEEK | MSG_DONTWAIT);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -(long)errno : result;
}

long sys_shutdown(int fd, bool receiving, bool sending) {
    if (!receiving && !sending) return 0;
    return shutdown(fd, receiving ? (sending ? SHUT_RDWR : SHUT_RD) : SHUT_WR) < 0 ? -(long)errno : 0;
}

long sys_raise_descriptor_limit(unsigned long wanted) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -(long)errno;
    if (limit.rlim_cur < wanted) {
        struct rlimit raised = { .rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted, .rlim_max = limit.rlim_max };
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return limit.rlim_cur > 1 << 30 ? 1 << 30 : (long)limit.rlim_cur;
}
