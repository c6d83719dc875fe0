// What Swift cannot say itself: volatile accesses of any alignment to memory that a guest changes
// meanwhile, and the few system calls of this package with errno captured before anything can clobber it.
#ifndef C_ADDRESS_SPACE_H
#define C_ADDRESS_SPACE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

// One access each: the compiler may neither repeat, split nor drop it.
#define AS_SCALAR(BITS)                                                                             \
    typedef uint##BITS##_t __attribute__((aligned(1), may_alias)) as_u##BITS;                       \
    static inline uint##BITS##_t as_load##BITS(const void *_Nonnull p) {                            \
        return *(const volatile as_u##BITS *)p;                                                     \
    }                                                                                               \
    static inline void as_store##BITS(void *_Nonnull p, uint##BITS##_t v) {                         \
        *(volatile as_u##BITS *)p = v;                                                              \
    }
AS_SCALAR(8)
AS_SCALAR(16)
AS_SCALAR(32)
AS_SCALAR(64)
#undef AS_SCALAR

// An integer that differs between live threads and costs one register read.
static inline uintptr_t as_thread_token(void) { return (uintptr_t)__builtin_thread_pointer(); }

static inline void as_yield(void) { sched_yield(); }

static inline size_t as_page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

// Address space only, no access, no memory behind it.
static inline long as_reserve(size_t length, uintptr_t *_Nonnull address) {
    void *p = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return -errno;
    *address = (uintptr_t)p;
    return 0;
}

// Maps over a part of a reservation. fd < 0: private anonymous memory. `reserve`: fails at once when a file system of huge pages has too few of them,
// where an access would end the process later.
static inline long as_map_at(uintptr_t address, size_t length, int fd, int64_t offset, int shared, int writable, int reserve) {
    int flags = MAP_FIXED | (reserve ? 0 : MAP_NORESERVE) | (shared ? MAP_SHARED : MAP_PRIVATE) | (fd < 0 ? MAP_ANONYMOUS : 0);
    int protection = PROT_READ | (writable ? PROT_WRITE : 0);
    void *p = mmap((void *)address, length, protection, flags, fd, offset);
    return p == MAP_FAILED ? -errno : 0;
}

static inline long as_unmap(uintptr_t address, size_t length) {
    return munmap((void *)address, length) < 0 ? -errno : 0;
}

static inline long as_exclude_from_dump(uintptr_t address, size_t length) {
    return madvise((void *)address, length, MADV_DONTDUMP) < 0 ? -errno : 0;
}

static inline long as_advise_huge_pages(uintptr_t address, size_t length) {
    return madvise((void *)address, length, MADV_HUGEPAGE) < 0 ? -errno : 0;
}

// The pages that a mapping of `fd` consists of: the file system's on hugetlbfs (magic number of linux/magic.h), the machine's otherwise.
static inline size_t as_mapping_page_size(int fd) {
    struct statfs status;
    size_t page = as_page_size();
    if (fd < 0 || fstatfs(fd, &status) < 0 || (unsigned long)status.f_type != 0x958458f6ul) return page;
    size_t huge = (size_t)status.f_bsize;
    return huge >= page && (huge & (huge - 1)) == 0 ? huge : page;
}

// Private memory: the pages go, the mapping stays, the next access finds zeros (or the file, where one is behind it).
static inline long as_discard(uintptr_t address, size_t length) {
    return madvise((void *)address, length, MADV_DONTNEED) < 0 ? -errno : 0;
}

// Shared file: a hole is punched into the file, so the pages go for everybody who maps it.
static inline long as_punch_hole(uintptr_t address, size_t length) {
    return madvise((void *)address, length, MADV_REMOVE) < 0 ? -errno : 0;
}

// mbind(2) with MPOL_MF_STRICT | MPOL_MF_MOVE: pages that a file has already move to their place. 128 nodes; the kernel takes one off the number of bits.
static inline long as_bind(uintptr_t address, size_t length, int policy, uint64_t low_nodes, uint64_t high_nodes) {
    unsigned long nodes[2] = { low_nodes, high_nodes };
    return syscall(SYS_mbind, address, length, policy, nodes, 129UL, 3U) < 0 ? -errno : 0;
}

// MADV_POPULATE_WRITE (Linux 5.14): makes the pages present and writable without changing them; where an access would end in SIGBUS it fails.
static inline long as_populate(uintptr_t address, size_t length) {
    enum { POPULATE_WRITE = 23 };
    return madvise((void *)address, length, POPULATE_WRITE) < 0 ? -errno : 0;
}

// The same by a write of what is there to each page, also when another process writes meanwhile.
static inline void as_touch(uintptr_t address, size_t length, size_t page) {
    for (size_t offset = 0; offset < length; offset += page) {
        volatile uint8_t *byte = (volatile uint8_t *)(address + offset);
        uint8_t value = *byte;
        while (!__atomic_compare_exchange_n(byte, &value, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    }
}

// Room in the file system for all of the file's mapping, or -errno.
static inline long as_allocate(int fd, int64_t offset, int64_t length) { return fallocate(fd, 0, offset, length) < 0 ? -errno : 0; }

// A memfd of a fixed size: sealed, so that no peer can truncate it and make this process die of SIGBUS. `flags`: more of memfd_create(2)'s.
static inline long as_sealed_memfd(const char *_Nonnull name, int64_t size, unsigned flags) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
    if (fd < 0) return -errno;
    if (ftruncate(fd, size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int saved = errno;
        close(fd);
        return -saved;
    }
    return fd;
}

#endif
