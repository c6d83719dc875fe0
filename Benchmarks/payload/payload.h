// What every part of the payload uses: ports, registers, the clock, and the serial port, over which the harness asks and the payload answers.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline uint8_t in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

// A plain load and store of 32 bits, which every hypervisor's emulator knows.
static inline void write32(uint64_t address, uint32_t value) { __asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory"); }
static inline uint32_t read32(uint64_t address) {
    uint32_t value;
    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

// The time stamp counter, behind everything that comes before it.
static inline uint64_t ticks(void) {
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void relax(void) { __asm__ volatile("pause" : : : "memory"); }
static inline void fence(void) { __asm__ volatile("lock; addl $0, (%%rsp)" : : : "memory", "cc"); }

// Answers. `answer` ends with a space, so that an answer is words; `end_answer` ends the line.
void print(const char *text);
void answer(uint64_t number);
// What the harness watches begins: says ">" and waits until it is ready for that.
void begin(void);
// What the harness asked for cannot be done: "! why".
void refuse(const char *why);

// A command of the harness: its numbers are `args`, of which there are `count`.
struct command {
    const char *name;
    void (*run)(int count, const uint64_t *args);
};

extern const struct command exit_commands[], block_commands[], net_commands[];

void *memset(void *to, int value, size_t count);
void *memcpy(void *to, const void *from, size_t count);
