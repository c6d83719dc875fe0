#define _GNU_SOURCE
#include "cvhostuser.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

long cvhostuser_signal(int event, int file) {
    aio_context_t context = 0;
    char byte;
    struct iocb read;
    struct iocb *list[1] = { &read };
    if (syscall(SYS_io_setup, 1, &context) < 0) return -(long)errno;
    memset(&read, 0, sizeof read);
    read.aio_lio_opcode = IOCB_CMD_PREAD;
    read.aio_fildes = (uint32_t)file;
    read.aio_buf = (uintptr_t)&byte;
    read.aio_nbytes = 1;
    read.aio_flags = IOCB_FLAG_RESFD;
    read.aio_resfd = (uint32_t)event;
    long result = syscall(SYS_io_submit, context, 1L, list) == 1 ? 0 : -(long)errno;
    // Waits for the read, which a file in memory ends at once.
    syscall(SYS_io_destroy, context);
    return result;
}

long cvhostuser_pipe(int *ends) { return pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0 ? -(long)errno : 0; }

long cvhostuser_socket_pair(int *ends) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0 ? -(long)errno : 0;
}
