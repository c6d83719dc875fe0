"""What differs between the architectures of guests. The lab runs those of the machine it is on, ARCH."""
import os
from typing import NamedTuple

CACHE = os.environ.get('STRATOVIRT_CACHE', '/var/tmp/stratovirt-cache')
PROJECT = os.path.realpath(os.path.join(os.path.dirname(__file__), '../..'))


class Architecture(NamedTuple):
    name: str
    binary: str          # the program under test, in the project
    store: str           # the folder of the guest artefacts
    guest: tuple         # kernel and initrd in it that start soonest
    memory: str          # MiB in which that one starts, with 8 processors too
    append: str          # the command line of README
    console_exits: str   # the counter of exits for the serial port's characters
    boot_mark: str       # the guest's command that writes the boot timer's {mark}
    leaves_out_slow: bool  # whether cases that case.slow marks run only when they are named
    qemu: str            # QEMU's machine that is most like ours; {acpi} is on or off


ARCHITECTURES = (
    Architecture(
        name='x86_64', binary='.build/release/stratovirt', store=CACHE, guest=('small/vmlinux', None), memory='128',
        append='console=ttyS0 pci=off reboot=k quiet panic=1 root=/dev/vda', console_exits='pio-writes',
        boot_mark=r"[ -c /dev/port ] && printf '\00{mark}' | dd of=/dev/port bs=1 seek=1023 conv=notrunc 2>/dev/null",
        leaves_out_slow=False, qemu='microvm,acpi={acpi},rtc=on'),
    Architecture(
        name='aarch64', binary='.build-aarch64/release/stratovirt', store=os.path.join(CACHE, 'aarch64'), guest=('stock/vmlinuz', 'stock/initrd'),
        memory='256', append='console=ttyAMA0 quiet panic=1 root=/dev/vda', console_exits='mmio-writes', boot_mark='devmem 0x09000f00 8 {mark}',
        leaves_out_slow=True, qemu='virt,gic-version=3'),
)
ARCH, = (a for a in ARCHITECTURES if a.name == os.uname().machine)
