#include "operations.h"
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// The linker's names for the functions in whose place those here are called.
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_memalign(size_t alignment, size_t size);

enum { DEPTH = 24, LARGEST_FRAME = 1 << 20 };

static atomic_long calls;
static atomic_bool is_watching;
static uint64_t frames[DEPTH];
extern const char __executable_start;

// By frame pointers: the program has no tables for unwinding. Where a function keeps none, the walk ends or leaves callers out.
__attribute__((noinline)) static void note(void) {
    const uintptr_t *frame = __builtin_frame_address(0);
    for (int depth = 0; depth < DEPTH; depth++) {
        frames[depth] = frame[1] - (uint64_t)&__executable_start;
        uintptr_t next = frame[0];
        if (next <= (uintptr_t)frame || next - (uintptr_t)frame > LARGEST_FRAME || next % sizeof next != 0) return;
        frame = (const uintptr_t *)next;
    }
}

__attribute__((noinline)) static void count(void) {
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    if (atomic_load_explicit(&is_watching, memory_order_relaxed) && atomic_exchange(&is_watching, false)) note();
}

void *__wrap_malloc(size_t size) {
    count();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t number, size_t size) {
    count();
    return __real_calloc(number, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    count();
    return __real_realloc(memory, size);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size) {
    count();
    return __real_posix_memalign(memory, alignment, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    count();
    return __real_aligned_alloc(alignment, size);
}

void *__wrap_memalign(size_t alignment, size_t size) {
    count();
    return __real_memalign(alignment, size);
}

long allocations_count(void) { return atomic_load(&calls); }
void allocations_watch(bool on) { atomic_store(&is_watching, on && frames[0] == 0); }
void allocations_forget(void) { memset(frames, 0, sizeof frames); }
uint64_t allocations_frame(int depth) { return depth >= 0 && depth < DEPTH ? frames[depth] : 0; }

bool allocations_are_counted(void) {
    // Volatile: the compiler knows these functions, and would leave out what nobody uses.
    void *volatile memory;
    void *aligned = NULL;
    long before = allocations_count();
    memory = malloc(1);
    memory = realloc(memory, 10);
    free(memory);
    memory = calloc(10, 10);
    free(memory);
    if (posix_memalign(&aligned, 64, 1000) != 0) return false;
    free(aligned);
    memory = aligned_alloc(64, 1024);
    free(memory);
    memory = memalign(64, 1000);
    free(memory);
    return allocations_count() - before == 6;
}

void operations_use(uint64_t value) { __asm__ volatile("" : : "r"(value) : "memory"); }
