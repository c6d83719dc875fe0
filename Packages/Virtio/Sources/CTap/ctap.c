#include "ctap.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(CTAP_NAME_SIZE == IFNAMSIZ, "interface names");
_Static_assert(CTAP_CHECKSUM == TUN_F_CSUM && CTAP_TSO4 == TUN_F_TSO4 && CTAP_TSO6 == TUN_F_TSO6 && CTAP_UFO == TUN_F_UFO, "offloads");

static long result(long value) { return value < 0 ? -errno : value; }

long ctap_open(const char *path) { return result(open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)); }

long ctap_attach(int fd, char name[CTAP_NAME_SIZE], bool multi_queue) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    memcpy(request.ifr_name, name, CTAP_NAME_SIZE - 1);
    request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multi_queue ? IFF_MULTI_QUEUE : 0));
    if (ioctl(fd, TUNSETIFF, &request) < 0) return -errno;
    memcpy(name, request.ifr_name, CTAP_NAME_SIZE);
    name[CTAP_NAME_SIZE - 1] = 0;
    return 0;
}

long ctap_query(int fd, char name[CTAP_NAME_SIZE]) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (ioctl(fd, TUNGETIFF, &request) < 0) return -errno;
    memcpy(name, request.ifr_name, CTAP_NAME_SIZE);
    name[CTAP_NAME_SIZE - 1] = 0;
    unsigned flags = (unsigned short)request.ifr_flags;
    // IFF_TUN and IFF_TAP are two bits of which one is set.
    return ((flags & IFF_TAP) && !(flags & IFF_TUN) ? CTAP_IS_TAP : 0) | (flags & IFF_VNET_HDR ? CTAP_HAS_HEADER : 0) |
           (flags & IFF_MULTI_QUEUE ? CTAP_IS_MULTI_QUEUE : 0);
}

long ctap_set_header_size(int fd, int bytes) { return result(ioctl(fd, TUNSETVNETHDRSZ, &bytes)); }

long ctap_set_offloads(int fd, unsigned offloads) { return result(ioctl(fd, TUNSETOFFLOAD, (unsigned long)offloads)); }

long ctap_set_queue_enabled(int fd, bool enabled) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_flags = enabled ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
    return result(ioctl(fd, TUNSETQUEUE, &request));
}

long ctap_adopt(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    return result(fcntl(fd, F_SETFD, FD_CLOEXEC));
}

long ctap_duplicate(int fd) { return result(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

// Not by the library's functions, which make a thread cancellable for each call: a twentieth of what a small packet costs.
long ctap_readv(int fd, const void *vectors, int count) { return result(syscall(SYS_readv, fd, vectors, count)); }

long ctap_writev(int fd, const void *vectors, int count) { return result(syscall(SYS_writev, fd, vectors, count)); }
