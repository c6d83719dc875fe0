// Taps (Linux Documentation/networking/tuntap.rst, linux/if_tun.h): request numbers that do not import, and errno captured before any Swift code runs.
// Every function returns the call's result, or -errno.
#ifndef C_TAP_H
#define C_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// With its NUL: IFNAMSIZ.
enum { CTAP_NAME_SIZE = 16 };
// What readv(2) and writev(2) take: UIO_MAXIOV.
enum { CTAP_VECTOR_LIMIT = 1024 };

enum {
    CTAP_IS_TAP = 1,
    CTAP_HAS_HEADER = 2,
    CTAP_IS_MULTI_QUEUE = 4,
};

enum {
    CTAP_CHECKSUM = 1,
    CTAP_TSO4 = 2,
    CTAP_TSO6 = 4,
    CTAP_UFO = 16,
};

// Opens the device file, non-blocking and close-on-exec.
long ctap_open(const char *_Nonnull path);
// Makes or joins an interface: a tap without packet information, with the virtio-net header. `name` is in and out.
long ctap_attach(int fd, char name[_Nonnull CTAP_NAME_SIZE], bool multi_queue);
// CTAP_IS_TAP and so on, and the interface's name. Whether IFF_NO_PI is set cannot be asked: TUNGETIFF uses its bit for IFF_NOFILTER.
long ctap_query(int fd, char name[_Nonnull CTAP_NAME_SIZE]);
long ctap_set_header_size(int fd, int bytes);
long ctap_set_offloads(int fd, unsigned offloads);
// Takes a queue of a multi-queue interface in or out of use: the kernel gives packets to queues in use only.
long ctap_set_queue_enabled(int fd, bool enabled);
// Non-blocking and close-on-exec.
long ctap_adopt(int fd);
// A second descriptor of the same open file, close-on-exec.
long ctap_duplicate(int fd);

// readv(2) and writev(2). `vectors` is an array of struct iovec: named here, the structure would belong to this module.
long ctap_readv(int fd, const void *_Nonnull vectors, int count);
long ctap_writev(int fd, const void *_Nonnull vectors, int count);

#endif
