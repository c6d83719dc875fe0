#define _GNU_SOURCE
#include "connect.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

long sys_tcp_connect(const char *host, uint16_t port) {
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    struct sockaddr *address;
    socklen_t length;
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) { address = (struct sockaddr *)&v4; length = sizeof v4; }
    else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) { address = (struct sockaddr *)&v6; length = sizeof v6; }
    else return -(long)EINVAL;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -(long)errno;
    // EINTR: the connection goes on being made, as with EINPROGRESS (connect(2)).
    if (connect(fd, address, length) == 0 || errno == EINPROGRESS || errno == EINTR) return fd;
    int error = errno;
    close(fd);
    return -(long)error;
}

long sys_socket_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return -(long)errno;
    return -(long)error;
}

void sys_tcp_tune(int fd) {
    int one = 1, idle = 30, interval = 10, count = 3;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

long sys_timerfd(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return fd < 0 ? -(long)errno : fd;
}

long sys_timerfd_arm(int fd, uint64_t nanoseconds) {
    struct itimerspec time = { .it_value = { .tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000) } };
    return timerfd_settime(fd, 0, &time, NULL) < 0 ? -(long)errno : 0;
}
