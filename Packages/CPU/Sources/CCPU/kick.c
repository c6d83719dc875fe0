#define _GNU_SOURCE
#include "ccpu.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

// immediate_exit of this thread's vCPU, or NULL. Thread-local storage of the program itself, so that the handler needs no allocation to reach it.
static _Thread_local uint8_t *volatile immediate_exit;

static int kick_signal(void) { return SIGRTMIN; }

// Async-signal-safe: one load and one atomic store.
static void on_kick(int number) {
    (void)number;
    uint8_t *flag = immediate_exit;
    if (flag) __atomic_store_n(flag, 1, __ATOMIC_SEQ_CST);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static long install_result;

static void install(void) {
    struct sigaction action = { .sa_handler = on_kick };
    // A kick that meets the thread inside a device's system call must not make that call fail; KVM_RUN is interrupted all the same.
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    install_result = sigaction(kick_signal(), &action, NULL) < 0 ? -(long)errno : 0;
}

long ccpu_kick_install(void) {
    pthread_once(&once, install);
    return install_result;
}

void ccpu_kick_attach(uintptr_t address) {
    immediate_exit = (uint8_t *)address;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, kick_signal());
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void ccpu_kick_detach(void) { immediate_exit = NULL; }

void ccpu_kick_send(int32_t thread) { syscall(SYS_tgkill, getpid(), thread, kick_signal()); }
