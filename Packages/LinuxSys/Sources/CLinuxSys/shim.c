#define _GNU_SOURCE
#include "clinuxsys.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SYS_RESULT(expression) ({ long result_ = (long)(expression); result_ < 0 ? -(long)errno : result_; })

const int sys_open_direct = O_DIRECT;
const int sys_open_path = O_PATH;
long sys_open(const char *path, int flags, unsigned mode) { return SYS_RESULT(open(path, flags | O_CLOEXEC, mode)); }
long sys_dup(int fd) { return SYS_RESULT(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }
long sys_read(int fd, void *buffer, size_t count) { return SYS_RESULT(read(fd, buffer, count)); }
long sys_write(int fd, const void *buffer, size_t count) { return SYS_RESULT(write(fd, buffer, count)); }
long sys_pread(int fd, void *buffer, size_t count, int64_t offset) { return SYS_RESULT(pread(fd, buffer, count, offset)); }
long sys_pwrite(int fd, const void *buffer, size_t count, int64_t offset) { return SYS_RESULT(pwrite(fd, buffer, count, offset)); }
long sys_preadv(int fd, const struct iovec *iov, int count, int64_t offset) { return SYS_RESULT(preadv(fd, iov, count, offset)); }
long sys_pwritev(int fd, const struct iovec *iov, int count, int64_t offset) { return SYS_RESULT(pwritev(fd, iov, count, offset)); }
long sys_fdatasync(int fd) { return SYS_RESULT(fdatasync(fd)); }
long sys_fallocate(int fd, int mode, int64_t offset, int64_t length) { return SYS_RESULT(fallocate(fd, mode, offset, length)); }
long sys_fstat(int fd, struct stat *out) { return SYS_RESULT(fstat(fd, out)); }
long sys_lstat(const char *path, struct stat *out) { return SYS_RESULT(lstat(path, out)); }
long sys_unlink(const char *path) { return SYS_RESULT(unlink(path)); }
long sys_ftruncate(int fd, int64_t size) { return SYS_RESULT(ftruncate(fd, size)); }
long sys_temporary_file(const char *folder) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/stratovirt-XXXXXX", folder);
    if (length < 0 || (size_t)length >= sizeof path) return -ENAMETOOLONG;
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) return -(long)errno;
    unlink(path);
    return fd;
}
long sys_openat(int directory, const char *name, int flags, unsigned mode) { return SYS_RESULT(openat(directory, name, flags | O_CLOEXEC, mode)); }
long sys_lstatat(int directory, const char *name, struct stat *out) { return SYS_RESULT(fstatat(directory, name, out, AT_SYMLINK_NOFOLLOW)); }
long sys_renameat(int directory, const char *from, const char *to) { return SYS_RESULT(renameat(directory, from, directory, to)); }
long sys_dup_onto(int fd, int target) { return SYS_RESULT(dup3(fd, target, O_CLOEXEC)); }
bool sys_wait_writable(int fd, int milliseconds) {
    struct pollfd entry = { .fd = fd, .events = POLLOUT };
    return poll(&entry, 1, milliseconds) != 0;
}

long sys_ioctl_pointer(int fd, unsigned long request, void *argument) { return SYS_RESULT(ioctl(fd, request, argument)); }
long sys_get_flags(int fd) { return SYS_RESULT(fcntl(fd, F_GETFL)); }
long sys_set_flags(int fd, int flags) { return SYS_RESULT(fcntl(fd, F_SETFL, flags)); }
long sys_ofd_lock(int fd, bool exclusive) {
    struct flock lock = { .l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };
    return SYS_RESULT(fcntl(fd, F_OFD_SETLK, &lock));
}

long sys_ofd_unlock(int fd) {
    struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
    return SYS_RESULT(fcntl(fd, F_OFD_SETLK, &lock));
}

long sys_mmap(void **address, size_t length, int protection, int flags, int fd, int64_t offset) {
    void *mapped = mmap(NULL, length, protection, flags, fd, offset);
    if (mapped == MAP_FAILED) return -(long)errno;
    *address = mapped;
    return 0;
}

long sys_random(void *bytes, size_t count) { return SYS_RESULT(getrandom(bytes, count, 0)); }
long sys_eventfd(void) { return SYS_RESULT(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
long sys_epoll_create(void) { return SYS_RESULT(epoll_create1(EPOLL_CLOEXEC)); }
long sys_epoll_ctl(int epfd, int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = { .events = events, .data = { .u64 = data } };
    return SYS_RESULT(epoll_ctl(epfd, operation, fd, &event));
}

long sys_epoll_wait(int epfd, struct epoll_event *events, int capacity, int timeout) { return SYS_RESULT(epoll_wait(epfd, events, capacity, timeout)); }
void sys_yield(void) { sched_yield(); }
static long sys_unix_address(struct sockaddr_un *address, const char *path) {
    size_t length = strlen(path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (length >= sizeof address->sun_path) return -(long)ENAMETOOLONG;
    memcpy(address->sun_path, path, length);
    return 0;
}

long sys_unix_socket(const char *path, bool listening, int backlog) {
    struct sockaddr_un address;
    long result = sys_unix_address(&address, path);
    if (result < 0) return result;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -(long)errno;
    if (listening) {
        // fchmod before bind gives the socket file mode 0600 from its first instant, without touching the process's umask.
        if (fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, backlog) == 0) return fd;
    } else if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        return fd;
    }
    int error = errno;
    close(fd);
    return -(long)error;
}

long sys_socket_port(int fd) {
    struct sockaddr_storage address = { 0 };
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) return -(long)errno;
    if (address.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return -(long)EAFNOSUPPORT;
}

long sys_accept(int fd) { return SYS_RESULT(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)); }
long sys_send(int fd, const void *buffer, size_t count) { return SYS_RESULT(send(fd, buffer, count, MSG_NOSIGNAL | MSG_DONTWAIT)); }
long sys_openpty(int *controller, char *name, size_t capacity) {
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -(long)errno;
    if (grantpt(fd) == 0 && unlockpt(fd) == 0 && ptsname_r(fd, name, capacity) == 0) { *controller = fd; return 0; }
    int error = errno;
    close(fd);
    return -(long)error;
}

long sys_tcgetattr(int fd, struct termios *out) { return SYS_RESULT(tcgetattr(fd, out)); }
long sys_tcsetattr(int fd, const struct termios *settings) { return SYS_RESULT(tcsetattr(fd, TCSANOW, settings)); }
int sys_thread_start(pthread_t *out, size_t stack, sys_thread_body body, void *argument) {
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error) return error;
    // A smaller one is refused, and what the C library needs differs between architectures (pthread_attr_setstacksize(3): 16 KiB or 128 KiB).
    long smallest = sysconf(_SC_THREAD_STACK_MIN);
    pthread_attr_setstacksize(&attributes, smallest > 0 && stack < (size_t)smallest ? (size_t)smallest : stack);
    error = pthread_create(out, &attributes, body, argument);
    pthread_attr_destroy(&attributes);
    return error;
}

int sys_gettid(void) { return (int)syscall(SYS_gettid); }
long sys_futex_wait(const void *word, uint32_t expected, int64_t nanoseconds) {
    struct timespec limit = { .tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000 };
    return SYS_RESULT(syscall(SYS_futex, word, 128 /* FUTEX_WAIT|PRIVATE */, expected, nanoseconds < 0 ? NULL : &limit, NULL, 0));
}

long sys_futex_wake(const void *word, int count) { return SYS_RESULT(syscall(SYS_futex, word, 129 /* FUTEX_WAKE|PRIVATE */, count, NULL, NULL, 0)); }

void sys_thread_set_name(const char *name) { pthread_setname_np(pthread_self(), name); }
