// The kick: a signal that makes a vCPU's thread leave the guest, or not enter it.
#pragma once
#include <stdint.h>

// Installs the handler, for the whole process; later calls do nothing. 0, or -errno.
long ccpu_kick_install(void);

// On the vCPU's thread: from now on the kick signal is unblocked and stores 1 to the byte at `address`.
void ccpu_kick_attach(uintptr_t address);
// On the vCPU's thread: the signal does nothing any more.
void ccpu_kick_detach(void);

// Sends the kick to one thread of this process. A thread that is gone, or is no vCPU, takes no harm.
void ccpu_kick_send(int32_t thread);
