#define _GNU_SOURCE
#include "messages.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

// Control messages need the alignment of their header.
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(SYS_DESCRIPTOR_LIMIT * sizeof(int))];
};

long sys_send_descriptors(int fd, const void *buffer, size_t count, const int *descriptors, int descriptor_count) {
    if (count == 0 || descriptor_count < 0 || descriptor_count > SYS_DESCRIPTOR_LIMIT) return -(long)EINVAL;
    struct iovec vector = { .iov_base = (void *)buffer, .iov_len = count };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
    union control control;
    if (descriptor_count > 0) {
        size_t size = (size_t)descriptor_count * sizeof(int);
        memset(&control, 0, CMSG_SPACE(size));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(header), descriptors, size);
    }
    ssize_t result = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return result < 0 ? -(long)errno : result;
}

long sys_receive_descriptors(int fd, void *buffer, size_t count, int *descriptors, int capacity, int *descriptor_count, int *lost) {
    *descriptor_count = 0;
    *lost = 0;
    struct iovec vector = { .iov_base = buffer, .iov_len = count };
    union control control;
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control };
    ssize_t result = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (result < 0) return -(long)errno;
    if (message.msg_flags & MSG_CTRUNC) *lost = 1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        // A header may claim less than itself, or more than was received: neither may size a copy.
        size_t room = (size_t)(control.bytes + message.msg_controllen - (char *)header);
        if (message.msg_controllen > sizeof control || header->cmsg_len < CMSG_LEN(0) || header->cmsg_len > room) break;
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t number = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < number; index++) {
            int received;
            memcpy(&received, CMSG_DATA(header) + index * sizeof(int), sizeof received);
            if (*descriptor_count < capacity) {
                descriptors[(*descriptor_count)++] = received;
            } else {
                close(received);
                *lost = 1;
            }
        }
    }
    return result;
}

long sys_poll_one(int fd, short events, int64_t nanoseconds) {
    struct pollfd entry = { .fd = fd, .events = events };
    if (nanoseconds < 0) nanoseconds = 0;
    struct timespec limit = { .tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000 };
    int result = ppoll(&entry, 1, &limit, NULL);
    return result < 0 ? -(long)errno : result == 0 ? 0 : entry.revents;
}

long sys_read_now(int fd, void *buffer, size_t count) {
    struct iovec vector = { .iov_base = buffer, .iov_len = count };
    ssize_t result = preadv2(fd, &vector, 1, -1, RWF_NOWAIT);
    // Before Linux 5.8 an eventfd knows no RWF_NOWAIT.
    if (result < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) result = read(fd, buffer, count);
    return result < 0 ? -(long)errno : result;
}
