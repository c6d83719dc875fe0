"""The smallest guest, which sends one byte over the serial port and halts, and machines around it that are the same for either monitor."""
import contextlib
import os
import struct
import tempfile

import bench

BYTE = b'K'
# mov dx, 0x3f8; mov al, 'K'; out dx, al; 1: hlt; jmp 1b; the same in 32 and 64 bits
CODE = bytes.fromhex('66ba f803 b04b ee f4 ebfd')
BASE = 1 << 20
NOTE = struct.pack('<3I4sI', 4, 4, 18, b'Xen', BASE + 196)  # XEN_ELFNOTE_PHYS32_ENTRY: the address of CODE


def kernel():
    """An ELF file with a PVH entry, which both monitors take."""
    size = 196 + len(CODE)
    header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\x02\x01\x01', 2, 62, 1, BASE + 196, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack('<IIQQQQQQ', 1, 7, 0, BASE, BASE, size, size, 4096)
    note = struct.pack('<IIQQQQQQ', 4, 4, 176, BASE + 176, BASE + 176, len(NOTE), len(NOTE), 4)
    return header + load + note + NOTE + CODE


@contextlib.contextmanager
def machine(monitor, cpus=1, mib=128, devices=1):
    """The command line of a machine with 0, 1 or 8 devices and QMP, and the folder with what belongs to it; its monitor's socket will be `qmp` there."""
    with tempfile.TemporaryDirectory() as directory:
        with open(f'{directory}/kernel', 'wb') as file:
            file.write(kernel())
        guest = bench.Guest(f'{directory}/kernel', 'console=ttyS0', cpus, mib)
        yield monitor.command(guest, *_devices(monitor, directory, devices), '-qmp', f'unix:{directory}/qmp,server,nowait'), directory


def _devices(monitor, directory, count):
    """Disks; the eight are four of them, two network devices, entropy and a balloon."""
    words = []
    for index in range(min(count, 4)):
        image = os.path.join(directory, f'disk{index}')
        with open(image, 'wb') as file:
            file.truncate(32 << 20)
        words += ['-drive', f'file={image},id=disk{index},direct=off'] if monitor.is_ours else ['-blockdev', f'driver=file,filename={image},node-name=disk{index}']
        words += ['-device', f'virtio-blk-device,drive=disk{index}']
    if count == 8:
        for index in range(2):
            words += ['-netdev', f'stream,id=net{index},server=on,addr.type=unix,addr.path={directory}/net{index}', '-device', f'virtio-net-device,netdev=net{index}']
        words += ['-object', 'rng-random,id=rng,filename=/dev/urandom', '-device', 'virtio-rng-device,rng=rng', '-device', 'virtio-balloon-device']
    return words
