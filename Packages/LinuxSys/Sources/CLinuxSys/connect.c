#define _GNU_SOURCE
#include "connect.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

// A socket for a numeric IPv4 or IPv6 address, which is put into `address`.
static long tcp_socket(const char *host, uint16_t port, struct sockaddr_storage *address, socklen_t *length) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    *address = (struct sockaddr_storage){ 0 };
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *length = sizeof *v4;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *length = sizeof *v6;
    } else {
        return -(long)EINVAL;
    }
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -(long)errno : fd;
}

static long failure(int fd) {
    int error = errno;
    close(fd);
    return -(long)error;
}

long sys_tcp_listen(const char *host, uint16_t port, int backlog) {
    struct sockaddr_storage address;
    socklen_t length;
    int fd = (int)tcp_socket(host, port, &address, &length), one = 1;
    if (fd < 0) return fd;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, backlog) == 0 ? fd : failure(fd);
}

long sys_tcp_connect(const char *host, uint16_t port) {
    struct sockaddr_storage address;
    socklen_t length;
    int fd = (int)tcp_socket(host, port, &address, &length);
    if (fd < 0) return fd;
    // EINTR: the connection goes on being made, as with EINPROGRESS (connect(2)).
    return connect(fd, (struct sockaddr *)&address, length) == 0 || errno == EINPROGRESS || errno == EINTR ? fd : failure(fd);
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
