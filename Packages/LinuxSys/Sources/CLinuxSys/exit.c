#define _GNU_SOURCE
#include "clinuxsys.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

// A slot is free (0), being filled (1) or in use (2). Only slots in use are read by the handlers.
static struct { atomic_int state; char path[EXIT_PATH_LENGTH]; } paths[EXIT_PATH_LIMIT];
static struct { atomic_int state; int fd; struct termios settings; } terminal;

long exit_add_path(const char *path) {
    size_t length = strlen(path);
    if (length >= EXIT_PATH_LENGTH) return -(long)ENAMETOOLONG;
    for (long slot = 0; slot < EXIT_PATH_LIMIT; slot++) {
        int free_slot = 0;
        if (!atomic_compare_exchange_strong(&paths[slot].state, &free_slot, 1)) continue;
        memcpy(paths[slot].path, path, length + 1);
        atomic_store(&paths[slot].state, 2);
        return slot;
    }
    return -(long)ENOSPC;
}

void exit_forget_path(long slot) {
    if (slot >= 0 && slot < EXIT_PATH_LIMIT) atomic_store(&paths[slot].state, 0);
}

long exit_keep_terminal(int fd, const struct termios *settings) {
    int free_slot = 0;
    if (!atomic_compare_exchange_strong(&terminal.state, &free_slot, 1)) return -(long)EBUSY;
    terminal.fd = fd;
    terminal.settings = *settings;
    atomic_store(&terminal.state, 2);
    return 0;
}

void exit_restore_terminal(int fd) {
    if (atomic_load(&terminal.state) != 2 || terminal.fd != fd) return;
    tcsetattr(terminal.fd, TCSANOW, &terminal.settings);
    atomic_store(&terminal.state, 0);
}

void exit_undo_all(void) {
    if (atomic_load(&terminal.state) == 2) tcsetattr(terminal.fd, TCSANOW, &terminal.settings);
    for (int slot = 0; slot < EXIT_PATH_LIMIT; slot++) {
        int used = 2;
        if (atomic_compare_exchange_strong(&paths[slot].state, &used, 1)) {
            unlink(paths[slot].path);
            atomic_store(&paths[slot].state, 0);
        }
    }
}

static void die(int number) {
    exit_undo_all();
    // SA_RESETHAND has put the default action back; the signal is delivered again when the handler returns.
    raise(number);
}

void exit_catch_fatal_signals(void) {
    static const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGQUIT };
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = die;
    action.sa_flags = (int)SA_RESETHAND;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaction(numbers[i], &action, NULL);
}

long sys_signals_to_descriptor(void) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    int error = pthread_sigmask(SIG_BLOCK, &mask, NULL);
    if (error) return -(long)error;
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -(long)errno : fd;
}

int sys_next_signal(int fd, int *sender) {
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) != sizeof info) return 0;
    *sender = (int)info.ssi_pid;
    return (int)info.ssi_signo;
}
