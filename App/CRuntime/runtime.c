#include "cruntime.h"
#include <stddef.h>

// The runtime looks for its backtracing helper before main, by way of /proc, and aborts where there is none: in a jail the program could not even say its
// version. There is no helper beside a single static file, so the answer is always that there is none. The linker takes this instead of the archive's member.
const char *swift_copyAuxiliaryExecutablePath(const char *name) {
    (void)name;
    return NULL;
}

__attribute__((weak)) const char *program_commit(void) { return "unknown"; }
