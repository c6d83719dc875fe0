// What vhost-user needs of the kernel beside sockets. Every function returns 0 or -errno.
#ifndef C_VHOST_USER_H
#define C_VHOST_USER_H

// Adds one to an eventfd and never waits, also when another process that has it made it blocking and full: the kernel does it, as the end of an asynchronous read
// (io_submit(2), IOCB_FLAG_RESFD) of one byte of `file`, which must be a regular file.
long cvhostuser_signal(int event, int file);
// A pipe; both ends are close-on-exec and non-blocking. ends[0] is for reading.
long cvhostuser_pipe(int *_Nonnull ends);
// Two connected unix stream sockets, close-on-exec and non-blocking.
long cvhostuser_socket_pair(int *_Nonnull ends);

#endif
