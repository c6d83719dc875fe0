#define _GNU_SOURCE
#include "clinuxsys.h"
#include <fcntl.h>
#include <unistd.h>

static int argument_count;
static char **arguments;

// The C library hands a constructor what it hands main. Swift's CommandLine reads /proc/self/cmdline instead, which fails without /proc or descriptors.
__attribute__((constructor)) static void keep_arguments(int count, char **values, char **environment) {
    (void)environment;
    argument_count = count;
    arguments = values;
}

int sys_argument_count(void) { return argument_count; }

const char *sys_argument(int index) { return index >= 0 && index < argument_count ? arguments[index] : NULL; }

void sys_open_standard_streams(void) {
    for (int fd = 0; fd < 3; fd++) {
        // The lowest free number is the one that is missing. A jail may have no /dev/null; what reads or writes an epoll descriptor gets an error.
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0 && epoll_create1(0) < 0) return;
    }
}
