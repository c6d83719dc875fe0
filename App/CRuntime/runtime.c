#include "cruntime.h"
#include <stddef.h>

// What follows stands in the place of members of the runtime's archives: the linker takes these definitions, and then looks for no others.

// The runtime's crash reporter. Before main it would look for its helper program, which is not there beside a single static file, by way of /proc, and abort
// without it; in a jail the program could not even say its version. It is 140 KB, and pulled in by the first name; the second holds its settings: none.
_Bool _swift_backtrace_isThunkFunction(const char *name) {
    (void)name;
    return 0;
}
// Aligned as the runtime reads it, by words: else the aarch64 program does not link.
_Alignas(16) const char _swift_backtraceSettings[128];

// The arguments as Swift's CommandLine has them, which finds them before main in /proc/self/maps and the stack. See ProcessEnvironment.
char **_swift_stdlib_getUnsafeArgvArgc(int *count) {
    static char *none[] = { NULL };
    *count = 0;
    return none;
}
void _swift_stdlib_overrideUnsafeArgvArgc(char **values, int count) {
    (void)values;
    (void)count;
}

// Names of C++ functions, for stack traces of the runtime: 45 KB. C++'s ABI has -2 for a name that is none.
char *__cxa_demangle(const char *name, char *buffer, size_t *length, int *status) {
    (void)name;
    (void)buffer;
    (void)length;
    if (status) *status = -2;
    return NULL;
}

// Unicode's names of characters, 550 KB of tables: Unicode.Scalar.Properties.name is nil. Scripts/build wraps it, since its neighbours are needed.
long __wrap__swift_stdlib_getScalarName(unsigned scalar, unsigned char *buffer, long capacity) {
    (void)scalar;
    (void)buffer;
    (void)capacity;
    return 0;
}

__attribute__((weak)) const char *program_commit(void) { return "unknown"; }
