// Talking to other processes without waiting for them: socket messages with descriptors, waits that end, reads that never wait. Results as in clinuxsys.h: the call's result, or -errno.
#pragma once
#include <stdint.h>
#include <stddef.h>

// The most descriptors that Linux carries with one message (SCM_MAX_FD).
enum { SYS_DESCRIPTOR_LIMIT = 253 };

// What the socket takes now of `count` bytes (at least 1) together with `descriptor_count` descriptors; the descriptors go with the first byte.
long sys_send_descriptors(int fd, const void *_Nullable buffer, size_t count, const int *_Nullable descriptors, int descriptor_count);
// At most `count` bytes that are there now, and the descriptors that came with them, close-on-exec, at most `capacity` of them: *descriptor_count says how
// many, *lost whether there were more (they are closed already). On an error there are none.
long sys_receive_descriptors(int fd, void *_Nullable buffer, size_t count, int *_Nullable descriptors, int capacity, int *_Nonnull descriptor_count, int *_Nonnull lost);

// Waits for `events` (poll(2)) at most `nanoseconds`: the events that are there, 0 when the time is over.
long sys_poll_one(int fd, short events, int64_t nanoseconds);

// What is there now, whatever O_NONBLOCK says: another process that has the same open file may have cleared it. -EAGAIN when nothing is. For eventfds.
long sys_read_now(int fd, void *_Nonnull buffer, size_t count);
