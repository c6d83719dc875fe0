#define _GNU_SOURCE
#include "clinuxsys.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(const char *text, size_t length) {
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;
        text += written;
        length -= (size_t)written;
    }
}

// The process that was started: ends with what the daemon says. All ends without running what exit(3) would run: that is the daemon's.
static void await_daemon(const char *prefix, int report) {
    char buffer[512];
    bool began = false;
    while (true) {
        ssize_t count = read(report, buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        if (!began && buffer[0] == 0) _exit(0);
        if (!began) put(prefix, strlen(prefix));
        began = true;
        put(buffer, (size_t)count);
    }
    // Killed, or a signal that kills: there is nobody left who could say why.
    static const char unexplained[] = "the daemon ended before the machine had started";
    if (!began) {
        put(prefix, strlen(prefix));
        put(unexplained, sizeof unexplained - 1);
    }
    put("\n", 1);
    _exit(1);
}

long sys_daemonize(const char *prefix, int *report) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -(long)errno;
    pid_t child = fork();
    if (child < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        return -(long)error;
    }
    if (child > 0) {
        close(ends[1]);
        int status = 0;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
        // The process in between ends with the error number of the second fork.
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
            close(ends[0]);
            return -(long)WEXITSTATUS(status);
        }
        await_daemon(prefix, ends[0]);
    }
    close(ends[0]);
    if (setsid() < 0) _exit(errno);
    // A daemon that leads no session cannot get a controlling terminal by opening one.
    child = fork();
    if (child != 0) _exit(child < 0 ? errno : 0);
    // Whoever waits may be gone: that is an error of the write, not our end.
    signal(SIGPIPE, SIG_IGN);
    *report = ends[1];
    return 0;
}

long sys_leave_terminal(void) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) return -(long)errno;
    long result = 0;
    for (int fd = 0; fd < 3; fd++) {
        if (dup2(null, fd) < 0) result = -(long)errno;
    }
    close(null);
    return result;
}
