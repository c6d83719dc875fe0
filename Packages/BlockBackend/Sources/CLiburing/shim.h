// liburing, Linux AIO, and the kernel constants of block I/O that are missing from Swift's Glibc module or are function-like macros.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const unsigned long block_ioctl_discard = BLKDISCARD;
static const unsigned long block_ioctl_get_read_only = BLKROGET;
static const unsigned long block_ioctl_get_sector_size = BLKSSZGET;
static const unsigned long block_ioctl_get_size = BLKGETSIZE64;

// Their types differ between versions of the header.
static const unsigned block_ring_register_restrictions = IORING_REGISTER_RESTRICTIONS;
static const unsigned block_ring_register_enable = IORING_REGISTER_ENABLE_RINGS;
static const unsigned short block_ring_rule_operation = IORING_RESTRICTION_SQE_OP;
static const unsigned short block_ring_rule_flags_required = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
static const unsigned char block_ring_fixed_file = 1 << IOSQE_FIXED_FILE_BIT;

// Whether io_uring_peek_cqe would find a completion, here or by having the kernel post it.
static inline int block_ring_has_completions(const struct io_uring *ring) {
    return io_uring_cq_ready(ring) != 0 || (IO_URING_READ_ONCE(*ring->sq.kflags) & IORING_SQ_TASKRUN) != 0;
}

// What statx(2) tells of O_DIRECT. *known is 0 where the kernel (before 6.1) or the file system does not tell;
// an offset alignment of 0 then means that the file takes no direct I/O. Returns 0 or -errno.
static inline int block_direct_alignment(int fd, unsigned *known, unsigned *memory, unsigned *offset) {
    struct statx status;
    if (syscall(SYS_statx, fd, "", 0x1000 /* AT_EMPTY_PATH */, STATX_DIOALIGN, &status) != 0) return -errno;
    *known = (status.stx_mask & STATX_DIOALIGN) != 0;
    *memory = status.stx_dio_mem_align;
    *offset = status.stx_dio_offset_align;
    return 0;
}

// Linux AIO (io_setup(2) and its sisters), which glibc does not wrap. A result below 0 is -errno.
static inline long block_aio_setup(unsigned count, aio_context_t *context) {
    return syscall(SYS_io_setup, count, context) == 0 ? 0 : -errno;
}

// Waits for what is in flight.
static inline void block_aio_destroy(aio_context_t context) { syscall(SYS_io_destroy, context); }

// How many of the `count` were taken; an error is about the first of them.
static inline long block_aio_submit(aio_context_t context, long count, struct iocb **blocks) {
    long result = syscall(SYS_io_submit, context, count, blocks);
    return result < 0 ? -errno : result;
}

// The kernel's ring of completions (fs/aio.c), which is mapped where the context's number says; libaio and QEMU read it too. NULL when it is of another make.
struct block_aio_ring {
    unsigned id, count, head, tail, magic, compatible, incompatible, header_length;
    struct io_event events[];
};
static inline struct block_aio_ring *block_aio_ring(aio_context_t context) {
    struct block_aio_ring *ring = (struct block_aio_ring *)context;
    return ring->magic == 0xa10a10a1 && ring->incompatible == 0 && ring->header_length == sizeof *ring ? ring : NULL;
}

static inline int block_aio_has_events(const struct block_aio_ring *ring) {
    return ring->head != __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
}

// Takes a completion, if one is there: 1 or 0.
static inline int block_aio_next(struct block_aio_ring *ring, struct io_event *event) {
    unsigned head = ring->head;
    if (head == __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) return 0;
    *event = ring->events[head];
    __atomic_store_n(&ring->head, head + 1 < ring->count ? head + 1 : 0, __ATOMIC_RELEASE);
    return 1;
}

// 1 when all `count` bytes are zero. Looks at the first ones first and ends at the first that is not, so that ordinary data costs next to nothing. The
// memory may change meanwhile: then the answer is about some state that each byte has had.
static inline int block_is_zero(const void *memory, unsigned long count) {
    typedef unsigned long word __attribute__((aligned(1), may_alias));
    typedef unsigned long words __attribute__((vector_size(32), aligned(1), may_alias));
    const char *at = (const char *)memory;
    if (count >= sizeof(word) && *(const word *)at != 0) return 0;
    for (; count >= 4 * sizeof(words); at += 4 * sizeof(words), count -= 4 * sizeof(words)) {
        const words *w = (const words *)at;
        words any = w[0] | w[1] | w[2] | w[3];
        if ((any[0] | any[1] | any[2] | any[3]) != 0) return 0;
    }
    for (; count > 0; at++, count--) {
        if (*at != 0) return 0;
    }
    return 1;
}
