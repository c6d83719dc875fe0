#pragma once
// In a child process: runs `body`, then overflows the stack, on the main thread or on one that `body` starts. The signal that the child died of, 0 when it did not.
int test_signal_of_overflow(void (*body)(void));
// Overflows the calling thread's stack.
int test_overflow(int depth);
// The CPU that the calling thread runs on, and -1 where that cannot be told; the other keeps it on that CPU, and returns 0 when it does.
int test_current_cpu(void);
int test_stay_on_cpu(int cpu);
