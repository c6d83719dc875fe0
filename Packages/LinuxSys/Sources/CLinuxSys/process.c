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
        // The lowest free number is the one that is missing.
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) return;
    }
}
