// liburing, and the kernel constants of block I/O that are missing from Swift's Glibc module or are function-like macros.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned long block_ioctl_discard = BLKDISCARD;
static const unsigned long block_ioctl_get_read_only = BLKROGET;
static const unsigned long block_ioctl_get_sector_size = BLKSSZGET;
static const unsigned long block_ioctl_get_size = BLKGETSIZE64;

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
