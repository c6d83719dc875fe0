#define _GNU_SOURCE
#include "clinuxsys.h"
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

static int release_segment(struct dl_phdr_info *info, size_t size, void *first) {
    (void)size;
    (void)first;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        // Segments that are writable at load time hold relocations (RELRO among them) and would lose them.
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W)) continue;
        uintptr_t start = (info->dlpi_addr + segment->p_vaddr + page - 1) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_filesz) & ~(page - 1);
        if (end > start) madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 1;  // The first object is the program itself.
}

void sys_release_program_pages(void) {
    dl_iterate_phdr(release_segment, NULL);
    malloc_trim(0);
}
