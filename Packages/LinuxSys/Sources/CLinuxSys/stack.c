#define _GNU_SOURCE
#include "clinuxsys.h"
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

// Memory is taken only when a handler runs. sysconf knows how much the processor's registers need; the rest is for the handler.
static size_t signal_stack_size(void) {
    long frame = sysconf(_SC_MINSIGSTKSZ);
    return (frame > 0 ? (size_t)frame : 0) + (64 << 10);
}

void *sys_signal_stack_make(void) {
    stack_t stack = { .ss_size = signal_stack_size() };
    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack.ss_sp == MAP_FAILED) return NULL;
    if (sigaltstack(&stack, NULL) == 0) return stack.ss_sp;
    munmap(stack.ss_sp, stack.ss_size);
    return NULL;
}

void sys_signal_stack_free(void *memory) {
    if (!memory) return;
    stack_t none = { .ss_flags = SS_DISABLE };
    sigaltstack(&none, NULL);
    munmap(memory, signal_stack_size());
}
