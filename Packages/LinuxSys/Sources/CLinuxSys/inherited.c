#define _GNU_SOURCE
#include "clinuxsys.h"
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

// poll(2) tells of 256 descriptors in one call, and needs no /proc. It refuses more entries than RLIMIT_NOFILE: then they are asked one by one.
int sys_open_descriptors(int first, int *numbers) {
    struct pollfd entries[DESCRIPTOR_CHUNK];
    for (int i = 0; i < DESCRIPTOR_CHUNK; i++) entries[i] = (struct pollfd){ .fd = first + i };
    bool polled = poll(entries, DESCRIPTOR_CHUNK, 0) >= 0;
    int count = 0;
    for (int i = 0; i < DESCRIPTOR_CHUNK; i++) {
        bool is_open = polled ? !(entries[i].revents & POLLNVAL) : fcntl(first + i, F_GETFD) >= 0;
        if (is_open) numbers[count++] = first + i;
    }
    return count;
}

void sys_close_descriptors_from(unsigned first) {
#ifdef SYS_close_range
    syscall(SYS_close_range, first, ~0u, 0);
#else
    (void)first;
#endif
}

void sys_set_close_on_exec(int fd) {
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0) fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

bool sys_is_network_device(int fd) {
    struct stat status;
    if (fstat(fd, &status) < 0 || !S_ISCHR(status.st_mode)) return false;
    // Linux Documentation/admin-guide/devices.txt: 10,238 is vhost-net. A tap answers TUNGETIFF whichever device it came from (tun, macvtap, ipvtap).
    if (status.st_rdev == makedev(10, 238)) return true;
    struct ifreq request = { 0 };
    return ioctl(fd, TUNGETIFF, &request) == 0;
}
