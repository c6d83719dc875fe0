// Which trace events are enabled: bit n is event n. In C, so that a look at it is one load wherever it is inlined; a Swift global would bring a check of its
// initialization.
#pragma once
#include <stdbool.h>
#include <stdint.h>

extern uint64_t sys_trace_mask;

static inline bool sys_trace_is_enabled(uint8_t event) { return __atomic_load_n(&sys_trace_mask, __ATOMIC_RELAXED) >> (event & 63) & 1; }
static inline void sys_trace_enable(uint8_t event) { __atomic_or_fetch(&sys_trace_mask, UINT64_C(1) << (event & 63), __ATOMIC_RELAXED); }
static inline void sys_trace_disable(uint8_t event) { __atomic_and_fetch(&sys_trace_mask, ~(UINT64_C(1) << (event & 63)), __ATOMIC_RELAXED); }
