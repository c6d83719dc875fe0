#pragma once
#include <sys/types.h>

// Starts a program in `directory`: standard input is `input`, output and error are appended to files, every other descriptor is closed.
// Its process id, or -errno.
pid_t program_start(const char *path, char *const words[], const char *directory, int input, const char *output, const char *error);
