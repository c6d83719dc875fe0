"""Kernels of every format, numbers of processors, sizes of memory, and ways of telling a guest its devices."""
import os
import re
import shutil
import struct
import time

import vm
from arch import ARCH
from case import LabCase, only
from vm import APPEND, SMALL, Drive


class Kernels(LabCase):
    def test_stock_debian_kernel_mounts_virtio_disk_and_writes_file_host_reads_back(self):
        m = self.vm(kernel=vm.STOCK, initrd=vm.STOCK_INITRD, memory='256').ready()
        self.assertRegex(m.sh('uname -r'), '-(cloud-amd|arm)64$')
        m.sh('echo written by the stock kernel >/root/file; sync')
        m.send('poweroff\n')
        m.ended_well()
        vm.fsck(m.drives[0].path)
        self.assertEqual(vm.file_in(m.drives[0].path, '/root/file'), 'written by the stock kernel\n')

    def boots(self, **configuration):
        m = self.vm(**configuration).ready()
        self.assertEqual(m.sh('sed -n "s,^/dev/[a-z]* / \\(ext4\\).*,\\1,p" /proc/mounts'), 'ext4')
        m.finish()
        return m

    @only('x86_64')
    def test_elf_vmlinux_boots_with_command_line_of_readme(self):
        m = self.boots(kernel=vm.SMALL)
        self.assertIn('-append ' + APPEND, ' '.join(m.arguments()))

    @only('x86_64')
    def test_bzimage_boots_without_initrd(self):
        self.boots(kernel=vm.SMALL_BZIMAGE)

    @only('x86_64')
    def test_flat_binary_boots_without_initrd(self):
        if vm.QEMU:
            self.skipTest('QEMU cannot load a flat binary')
        self.boots(kernel=vm.SMALL_FLAT)

    @only('x86_64')
    def test_elf_vmlinux_whose_entry_is_virtual_boots_through_its_pvh_note(self):
        kernel = os.path.join(self.dir, 'vmlinux-pvh')
        shutil.copy(vm.SMALL, kernel)
        with open(kernel, 'r+b') as elf:
            elf.seek(24)  # e_entry
            elf.write(struct.pack('<Q', 0xffffffff81000000))
        self.boots(kernel=kernel)

    def test_initrd_is_found_and_run(self):
        kernel = vm.SMALL_BZIMAGE if ARCH.name == 'x86_64' else vm.STOCK
        m = self.vm(kernel=kernel, initrd=vm.STOCK_INITRD, append=APPEND.replace('root=/dev/vda', '')).ready()
        self.assertEqual(m.sh('sed -n "s/^rootfs \\(.\\).*/\\1/p" /proc/mounts'), '/')
        m.finish()

    @only('aarch64')
    def test_gzip_packed_kernel_boots(self):
        self.boots(kernel=vm.STOCK + '.gz', initrd=vm.STOCK_INITRD)

    @only('aarch64')
    def test_efi_zboot_kernel_boots(self):
        if vm.QEMU:
            self.skipTest("Debian's QEMU 7.2 knows no zboot")
        self.boots(kernel=vm.STOCK + '.efi', initrd=vm.STOCK_INITRD)

    def test_clock_of_guest_agrees_with_host_within_3_seconds(self):
        for kernel, initrd in {vm.GUEST, (vm.STOCK, vm.STOCK_INITRD)}:
            m = self.vm(kernel=kernel, initrd=initrd, memory='256').ready()
            before = time.time()
            guest = int(m.sh('date +%s'))
            self.assertGreaterEqual(guest, int(before) - 3)
            self.assertLessEqual(guest, time.time() + 3)
            m.finish()


class Processors(LabCase):
    def counts(self, cpus, append=APPEND):
        m = self.vm(cpus=cpus, append=append).ready()
        self.assertEqual(m.sh('nproc'), str(cpus))
        self.assertEqual(m.sh('for c in $(seq 0 %d); do taskset $(printf %%x $((1 << c))) true || echo no $c; done' % (cpus - 1)), '')
        m.finish()

    def test_guest_counts_1_vcpu(self):
        self.counts(1)

    def test_guest_counts_2_vcpus(self):
        self.counts(2)

    def test_guest_counts_8_vcpus(self):
        self.counts(8)

    @only('x86_64')
    def test_guest_without_acpi_counts_2_vcpus_from_mp_table(self):
        self.counts(2, append=APPEND + ' acpi=off')


class Memory(LabCase):
    def sees(self, words, mib):
        m = self.vm(memory=words).ready()
        ranges = re.findall(r'^([0-9a-f]+)-([0-9a-f]+) : System RAM', m.sh('cat /proc/iomem'), re.M)
        self.assertGreaterEqual(sum(int(end, 16) - int(start, 16) + 1 for start, end in ranges), 0.97 * mib * 2**20)
        total = int(re.search(r'MemTotal: +(\d+) kB', m.sh('cat /proc/meminfo')).group(1))
        self.assertGreaterEqual(total * 1024, 0.85 * mib * 2**20) # what the kernel keeps for itself is not in MemTotal
        m.finish()
        return [(int(start, 16), int(end, 16)) for start, end in ranges]

    def test_guest_sees_as_little_as_it_needs(self):
        self.sees(ARCH.memory, int(ARCH.memory))

    def test_guest_sees_1_gib(self):
        self.sees('1G', 1024)

    @only('aarch64')
    def test_guest_sees_4_gib(self):
        self.sees('4G', 4096)

    @only('x86_64')
    def test_guest_sees_5_gib_on_both_sides_of_gap(self):
        ranges = self.sees('5g', 5120)
        self.assertTrue(any(start >= 2**32 for start, _ in ranges))


class Discovery(LabCase):
    """Every disk slot exactly once and in its order, however the guest learns of its devices."""

    def check(self, kernel, append, initrd=None):
        drives = [Drive(self.rootfs()), Drive(self.blank(5)), Drive(self.blank(7))]
        m = self.vm(kernel=kernel, append=append, initrd=initrd, memory='256', drives=drives).ready()
        self.assertEqual(m.sh('cd /sys/block; for d in vd*; do echo $d $(cat $d/size); done').split('\n'),
                         ['vda 65536', f'vdb {5 * 2048}', f'vdc {7 * 2048}'] + ([] if vm.QEMU else ['vdd 0'])) # an empty slot
        m.finish()

    @only('aarch64')
    def test_kernel_with_device_tree_sees_every_disk_once(self):
        self.check(vm.STOCK, APPEND, vm.STOCK_INITRD)

    @only('x86_64')
    def test_kernel_with_acpi_only_sees_every_disk_once(self):
        self.check(vm.STOCK, APPEND, vm.STOCK_INITRD)

    @only('x86_64')
    def test_kernel_with_command_line_only_sees_every_disk_once(self):
        self.check(SMALL, APPEND + ' acpi=off')

    @only('x86_64')
    def test_kernel_with_acpi_and_command_line_sees_every_disk_once(self):
        self.check(SMALL, APPEND)
