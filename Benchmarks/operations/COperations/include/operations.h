// What the operations cannot say in Swift: allocations of the whole process, counted, and the far end of a tap.
#ifndef C_OPERATIONS_H
#define C_OPERATIONS_H

#include <stdbool.h>
#include <stdint.h>

// Calls of malloc(3), calloc, realloc, posix_memalign, aligned_alloc and memalign so far, by any thread. The linker sends the calls of the whole program, the C
// library and Swift's runtime included, through here (--wrap).
long allocations_count(void);

// The counter counts: one call of each function, none left out, none doubled.
bool allocations_are_counted(void);

// Whether it is noted from where the next allocation comes.
void allocations_watch(bool on);
void allocations_forget(void);
// Frame `depth` of the allocation that was noted, as the address that the executable's file has it at; 0: no such frame.
uint64_t allocations_frame(int depth);

// Keeps the compiler from leaving out what computes `value`.
void operations_use(uint64_t value);

// The tap `interface` is up, and so that nothing but the benchmark speaks on it without IPv6; gives a non-blocking socket: what is written to it the tap's owner
// reads. -errno on failure.
long wire_open(const char *_Nonnull interface);

#endif
