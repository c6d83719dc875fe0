#include "trace.h"

uint64_t sys_trace_mask;
