// System calls whose errno must be read before any Swift code runs (ARC or the allocator may change it), and macros that do not import.
// Every sys_ function that returns a long returns the call's result, or -errno.
#pragma once
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>

// O_DIRECT and O_PATH, which do not import; the number of the first differs between architectures.
extern const int sys_open_direct;
extern const int sys_open_path;
long sys_open(const char *path, int flags, unsigned mode);
long sys_dup(int fd);
long sys_read(int fd, void *buffer, size_t count);
long sys_write(int fd, const void *buffer, size_t count);
long sys_pread(int fd, void *buffer, size_t count, int64_t offset);
long sys_pwrite(int fd, const void *buffer, size_t count, int64_t offset);
long sys_preadv(int fd, const struct iovec *iov, int count, int64_t offset);
long sys_pwritev(int fd, const struct iovec *iov, int count, int64_t offset);
long sys_fdatasync(int fd);
long sys_fallocate(int fd, int mode, int64_t offset, int64_t length);
long sys_fstat(int fd, struct stat *out);
long sys_lstat(const char *path, struct stat *out);
long sys_unlink(const char *path);
long sys_ftruncate(int fd, int64_t size);
// A new file in `folder`, which has a name no more: open for reading and writing.
long sys_temporary_file(const char *folder);
// In an open directory.
long sys_openat(int directory, const char *name, int flags, unsigned mode);
long sys_lstatat(int directory, const char *name, struct stat *out);
long sys_renameat(int directory, const char *from, const char *to);
// Makes `target`, which is open, another descriptor of the file behind `fd`, close-on-exec.
long sys_dup_onto(int fd, int target);
// Whether a write would find room within this time. An error or a peer that is gone is none to wait for.
bool sys_wait_writable(int fd, int milliseconds);
long sys_ioctl_pointer(int fd, unsigned long request, void *argument);
long sys_get_flags(int fd);
long sys_set_flags(int fd, int flags);

// Open file description locks (fcntl(2)): they also exclude a second open of the file by this process, and go with the descriptor.
long sys_ofd_lock(int fd, bool exclusive);
long sys_ofd_unlock(int fd);

// On success *address holds the mapping and 0 is returned.
long sys_mmap(void **address, size_t length, int protection, int flags, int fd, int64_t offset);

// At most 256 bytes, which come whole once the kernel has enough entropy (getrandom(2)).
long sys_random(void *bytes, size_t count);

long sys_eventfd(void);
long sys_epoll_create(void);
long sys_epoll_ctl(int epfd, int operation, int fd, uint32_t events, uint64_t data);
long sys_epoll_wait(int epfd, struct epoll_event *events, int capacity, int timeout);
// Whoever waits for this CPU may have it (sched_yield(2), which cannot fail).
void sys_yield(void);
static inline uint64_t sys_epoll_data(const struct epoll_event *event) { return event->data.u64; }

// Sockets. Every descriptor is close-on-exec and non-blocking.
long sys_unix_socket(const char *path, bool listening, int backlog);
long sys_socket_port(int fd);
long sys_accept(int fd);
// MSG_NOSIGNAL: a peer that hangs up must not kill the process with SIGPIPE.
long sys_send(int fd, const void *buffer, size_t count);

// Terminals.
long sys_openpty(int *controller, char *name, size_t capacity);
long sys_tcgetattr(int fd, struct termios *out);
long sys_tcsetattr(int fd, const struct termios *settings);

// What must be undone on every way out of the process, also by a fatal signal: one terminal's settings, and files to remove. The handlers use only
// async-signal-safe calls and take no lock (a handler that takes a lock held by the interrupted thread hangs for ever).
enum { EXIT_PATH_LIMIT = 64, EXIT_PATH_LENGTH = 4096 };
// Raw mode (output processing stays), again after each SIGCONT; 0 or -errno, EBUSY while another terminal is kept.
long exit_make_raw(int fd);
void exit_restore_terminal(int fd);
// Registers an existing file: slot number, or -errno (ENOSPC, ENAMETOOLONG).
long exit_add_path(const char *path);
// Removes the file, unless another one is in its place by now, and frees the slot.
void exit_remove_path(long slot);
// Frees the slot and leaves the file.
void exit_keep_path(long slot);
// Restores and removes everything registered; may be called more than once.
void exit_undo_all(void);
// On signals that end the process: undo, then die of the same signal. Handlers run on the thread's signal stack where it has one.
void exit_catch_fatal_signals(void);
// Gives the calling thread a stack for signal handlers, so that an overflow of its own stack can be handled; takes it back before the thread ends.
// NULL when there is no memory: then the thread does without.
void *sys_signal_stack_make(void);
void sys_signal_stack_free(void *stack);

// Blocks SIGTERM, SIGINT and SIGHUP, and no other signal, for this thread and those it starts, ignores SIGPIPE and SIGXFSZ; a descriptor that reads what was blocked, or -errno.
long sys_signals_to_descriptor(void);
// The next signal's number, 0 when none waits.
int sys_next_signal(int fd, int *sender);

// The words of the command line; NULL beyond the last.
int sys_argument_count(void);
const char *sys_argument(int index);
// Opens /dev/null in the place of each closed standard descriptor, so that no other file gets its number.
void sys_open_standard_streams(void);

// Becomes a daemon: forks twice, starts a session in between. Returns only in the daemon, with a descriptor in *report that the waiting first process reads
// to its end: a zero byte is success, anything else is an error to print after `prefix`. -errno, in the first process, when it cannot be.
long sys_daemonize(const char *prefix, int *report);
// /dev/null in the place of standard input, output and error.
long sys_leave_terminal(void);

// What the parent left open.
enum { DESCRIPTOR_CHUNK = 256 };
// Which of the descriptors first..<first + DESCRIPTOR_CHUNK are open: their count, and their numbers in `numbers`, which has that many places.
int sys_open_descriptors(int first, int *numbers);
// close_range(2) to the highest number; nothing happens on a kernel before 5.9, which lacks it.
void sys_close_descriptors_from(unsigned first);
void sys_set_close_on_exec(int fd);
// Whether it is a tap or /dev/vhost-net.
bool sys_is_network_device(int fd);

// Threads. The start routine's signature differs between C libraries in nullability; the shim fixes it.
typedef void *(*sys_thread_body)(void *argument);
int sys_thread_start(pthread_t *out, size_t stack, sys_thread_body body, void *argument);
int sys_gettid(void);
// Names the calling thread; Linux keeps 15 bytes.
void sys_thread_set_name(const char *name);

// Makes constants read-only and the heap one: see ProgramMemory. Once, first of all.
void sys_prepare_program_memory(void);
// Has the kernel map little around each page of rarely used code: see ProgramMemory. Once, when the guest runs.
void sys_limit_fault_around(void);
// Gives back the program's own code and constants that start-up has touched, and free heap pages: see ProgramMemory.
void sys_release_program_pages(void);
// The pages of the calling thread's stack below the caller.
void sys_release_stack(void);

// Guest memory: single accesses that the compiler can neither tear, repeat nor cache.
static inline uint16_t sys_load_acquire16(const void *address) { return __atomic_load_n((const uint16_t *)address, __ATOMIC_ACQUIRE); }
static inline void sys_store_release16(void *address, uint16_t value) { __atomic_store_n((uint16_t *)address, value, __ATOMIC_RELEASE); }

// Wait and wake on a 32-bit word (futex(2)), for threads that sleep outside any lock. Times in nanoseconds; negative waits for ever.
long sys_futex_wait(const void *word, uint32_t expected, int64_t nanoseconds);
long sys_futex_wake(const void *word, int count);
