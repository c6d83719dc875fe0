#define _GNU_SOURCE
#include "clinuxsys.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

// A slot is free (0), being filled or emptied (1) or in use (2). Only slots in use are read by the handlers.
static struct { atomic_int state; dev_t device; ino_t inode; } paths[EXIT_PATH_LIMIT];
// Apart from the states, so that looking through those touches none of these pages.
static char names[EXIT_PATH_LIMIT][EXIT_PATH_LENGTH];
static struct { atomic_int state; int fd; struct termios before, raw; } terminal;

long exit_add_path(const char *path) {
    size_t length = strlen(path);
    if (length >= EXIT_PATH_LENGTH) return -(long)ENAMETOOLONG;
    struct stat status;
    if (lstat(path, &status) < 0) return -(long)errno;
    for (long slot = 0; slot < EXIT_PATH_LIMIT; slot++) {
        int free_slot = 0;
        if (!atomic_compare_exchange_strong(&paths[slot].state, &free_slot, 1)) continue;
        memcpy(names[slot], path, length + 1);
        paths[slot].device = status.st_dev;
        paths[slot].inode = status.st_ino;
        atomic_store(&paths[slot].state, 2);
        return slot;
    }
    return -(long)ENOSPC;
}

void exit_remove_path(long slot) {
    if (slot < 0 || slot >= EXIT_PATH_LIMIT) return;
    int used = 2;
    if (!atomic_compare_exchange_strong(&paths[slot].state, &used, 1)) return;
    // Somebody may have put another file there meanwhile, which is not ours to remove.
    struct stat now;
    if (lstat(names[slot], &now) == 0 && now.st_dev == paths[slot].device && now.st_ino == paths[slot].inode) unlink(names[slot]);
    atomic_store(&paths[slot].state, 0);
}

void exit_keep_path(long slot) {
    int used = 2;
    if (slot >= 0 && slot < EXIT_PATH_LIMIT) atomic_compare_exchange_strong(&paths[slot].state, &used, 0);
}

// A shell puts its own settings on the terminal while we are stopped. In the background touching the terminal would stop us again.
static void resumed(int number) {
    (void)number;
    int error = errno;
    if (atomic_load(&terminal.state) == 2 && tcgetpgrp(terminal.fd) == getpgrp()) tcsetattr(terminal.fd, TCSANOW, &terminal.raw);
    errno = error;
}

long exit_make_raw(int fd) {
    int free_slot = 0;
    if (!atomic_compare_exchange_strong(&terminal.state, &free_slot, 1)) return -(long)EBUSY;
    int result = tcgetattr(fd, &terminal.before);
    if (result == 0) {
        terminal.fd = fd;
        terminal.raw = terminal.before;
        cfmakeraw(&terminal.raw);
        terminal.raw.c_oflag = terminal.before.c_oflag;
        atomic_store(&terminal.state, 2);
        struct sigaction action = { .sa_handler = resumed, .sa_flags = SA_RESTART };
        sigaction(SIGCONT, &action, NULL);
        result = tcsetattr(fd, TCSANOW, &terminal.raw);
    }
    if (result == 0) return 0;
    long error = errno;
    atomic_store(&terminal.state, 0);
    return -error;
}

void exit_restore_terminal(int fd) {
    int used = 2;
    if (terminal.fd != fd || !atomic_compare_exchange_strong(&terminal.state, &used, 1)) return;
    tcsetattr(terminal.fd, TCSANOW, &terminal.before);
    atomic_store(&terminal.state, 0);
}

void exit_undo_all(void) {
    if (atomic_load(&terminal.state) == 2) tcsetattr(terminal.fd, TCSANOW, &terminal.before);
    for (int slot = 0; slot < EXIT_PATH_LIMIT; slot++) exit_remove_path(slot);
}

static void die(int number) {
    exit_undo_all();
    // SA_RESETHAND has put the default action back; the signal is delivered again when the handler returns.
    raise(number);
}

void exit_catch_fatal_signals(void) {
    // Every signal whose default action ends the process, but those that are events (see below) and the real-time ones.
    static const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGQUIT, SIGSYS, SIGXCPU, SIGALRM, SIGVTALRM, SIGPROF,
                                   SIGUSR1, SIGUSR2, SIGIO, SIGPWR, SIGSTKFLT };
    struct sigaction action = { .sa_handler = die, .sa_flags = (int)(SA_RESETHAND | SA_ONSTACK) };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaction(numbers[i], &action, NULL);
}

long sys_signals_to_descriptor(void) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    // Not added to what is blocked: a parent may have left us with anything.
    int error = pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (error) return -(long)error;
    // A peer that hangs up, and a file that reaches RLIMIT_FSIZE, are errors of the call, not the end of the machine: a guest could cause both.
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    int fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -(long)errno : fd;
}

int sys_next_signal(int fd, int *sender) {
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) != sizeof info) return 0;
    *sender = (int)info.ssi_pid;
    return (int)info.ssi_signo;
}
