#pragma once
// In a child process: runs `body`, then overflows the stack, on the main thread or on one that `body` starts. The signal that the child died of, 0 when it did not.
int test_signal_of_overflow(void (*body)(void));
// Overflows the calling thread's stack.
int test_overflow(int depth);
