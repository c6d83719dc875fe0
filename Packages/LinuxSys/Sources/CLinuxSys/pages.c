#define _GNU_SOURCE
#include "clinuxsys.h"
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

// From the linker script of a release build; absent otherwise.
extern const char program_constants_begin[] __attribute__((weak, visibility("hidden")));
extern const char program_constants_end[] __attribute__((weak, visibility("hidden")));

// The whole pages of [start, end).
static bool whole_pages(uintptr_t *start, uintptr_t *end) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    *start = (*start + page - 1) & ~(page - 1);
    *end &= ~(page - 1);
    return *end > *start;
}

static bool constants(uintptr_t *start, uintptr_t *end) {
    *start = (uintptr_t)program_constants_begin;
    *end = (uintptr_t)program_constants_end;
    return *start != 0 && whole_pages(start, end);
}

static bool constants_protected;

void sys_prepare_program_memory(void) {
    uintptr_t start, end;
    constants_protected = constants(&start, &end) && mprotect((void *)start, end - start, PROT_READ) == 0;
    mallopt(M_ARENA_MAX, 1);
}

// From the build's commit.o: what lies behind it is code of which each machine uses some, or none (Scripts/function-order).
extern const char program_rare_code[] __attribute__((weak, visibility("hidden")));
extern const char etext[] __attribute__((weak, visibility("hidden")));

enum { RARE_CODE_PIECE = 16 << 10 };

void sys_limit_fault_around(void) {
    static atomic_bool is_limited;
    if (atomic_exchange(&is_limited, true)) return;
    uintptr_t start = (uintptr_t)program_rare_code, end = (uintptr_t)etext;
    // The kernel maps no more than 64 KiB around a fault: where that is one page there is nothing to limit.
    if (start == 0 || end == 0 || sysconf(_SC_PAGESIZE) > RARE_CODE_PIECE) return;
    start = (start + RARE_CODE_PIECE - 1) & ~(uintptr_t)(RARE_CODE_PIECE - 1);
    for (; start < end && end - start > RARE_CODE_PIECE; start += 2 * RARE_CODE_PIECE) madvise((void *)start, RARE_CODE_PIECE, MADV_RANDOM);
}

// Below the main thread's stack, whose end only /proc tells, the kernel keeps a megabyte free (stack_guard_gap).
enum { STACK_DEPTH = 512 << 10, STACK_IN_USE = 1 << 10 };

void sys_release_stack(void) {
    uintptr_t end = (uintptr_t)__builtin_frame_address(0) - STACK_IN_USE, start = end - STACK_DEPTH;
    pthread_attr_t attributes;
    if (getpid() != gettid()) {
        if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
        void *low;
        size_t size;
        pthread_attr_getstack(&attributes, &low, &size);
        pthread_attr_destroy(&attributes);
        start = (uintptr_t)low;
    }
    if (whole_pages(&start, &end)) madvise((void *)start, end - start, MADV_DONTNEED);
}

static int release_segment(struct dl_phdr_info *info, size_t size, void *first) {
    (void)size;
    (void)first;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        // Segments that are writable at load time hold relocations (RELRO among them) and would lose them.
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W)) continue;
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        uintptr_t end = start + segment->p_filesz;
        if (whole_pages(&start, &end)) madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 1;  // The first object is the program itself.
}

void sys_release_program_pages(void) {
    dl_iterate_phdr(release_segment, NULL);
    // Only what could not have been written: the others' pages would fall back to the file's content.
    uintptr_t start, end;
    if (constants_protected && constants(&start, &end)) madvise((void *)start, end - start, MADV_DONTNEED);
    malloc_trim(0);
}
