#pragma once

// Makes one system call fail with `error` for the calling thread, and for threads that it starts. Returns 0 or -errno. Cannot be undone.
int blocktest_forbid_call(long number, int error);

extern const long blocktest_io_uring_setup;
extern const long blocktest_io_uring_enter;
extern const long blocktest_io_setup;
extern const long blocktest_io_submit;
extern const long blocktest_fdatasync;
