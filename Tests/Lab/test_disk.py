"""virtio-blk under a real kernel: what is written is on the image, what must not be written is not."""
import hashlib
import os
import subprocess

import vm
from case import LabCase
from vm import Drive

FILL = 'dd if=/dev/urandom of=/mnt/data bs=64k count=96 2>/dev/null; sync; sha256sum </mnt/data'


class Disk(LabCase):
    def filled(self, drive, **configuration):
        """A guest writes 6 MiB of noise into a fresh ext4 on its second disk; the host finds them there."""
        subprocess.run(['mke2fs', '-q', '-t', 'ext4', drive.path], check=True)
        m = self.vm(drives=[Drive(self.rootfs()), drive], **configuration).ready()
        m.sh('mount /dev/vdb /mnt')
        digest = m.sh(FILL).split()[0]
        m.sh('echo 3 >/proc/sys/vm/drop_caches')
        self.assertEqual(m.sh('sha256sum </mnt/data').split()[0], digest)
        m.send('poweroff\n')
        m.ended_well()
        vm.fsck(drive.path)
        dump = os.path.join(self.dir, 'dump')
        subprocess.run(['debugfs', '-R', f'dump /data {dump}', drive.path], capture_output=True, check=True)
        with open(dump, 'rb') as data:
            self.assertEqual(hashlib.sha256(data.read()).hexdigest(), digest)

    def test_data_written_to_second_disk_is_read_back_by_host(self):
        self.filled(Drive(self.blank(16)))

    def test_data_written_with_threads_engine_is_read_back_by_host(self):
        self.filled(Drive(self.blank(16), extra=',aio=threads'), cpus=2)

    def test_data_written_with_io_uring_engine_is_read_back_by_host(self):
        if vm.QEMU:
            self.skipTest("Debian's QEMU 7.2 wants O_DIRECT or nothing here")
        self.filled(Drive(self.blank(16), extra=',aio=io_uring'), cpus=2)

    def test_direct_disk_is_read_back_by_host(self):
        with MountedExt4(self.blank(64), self.dir) as directory: # tmpfs refuses O_DIRECT
            path = os.path.join(directory, 'direct.img')
            with open(path, 'wb') as image:
                image.truncate(16 << 20)
            self.filled(Drive(path, direct=True))

    def test_readonly_disk_refuses_writes(self):
        drive = Drive(self.blank(1), readonly=True)
        m = self.vm(drives=[Drive(self.rootfs()), drive]).ready()
        self.assertEqual(m.sh('cat /sys/block/vdb/ro'), '1')
        self.assertEqual(m.sh('echo x 2>/dev/null >/dev/vdb && echo written || echo refused'), 'refused')
        m.finish()
        with open(drive.path, 'rb') as image:
            self.assertEqual(image.read().strip(b'\0'), b'')

    def test_readonly_root_boots(self):
        m = self.vm(drives=[Drive(self.rootfs(), readonly=True)]).ready()
        self.assertEqual(m.sh('echo x 2>/dev/null >/root/file && echo written || echo refused'), 'refused')
        m.finish()

    def test_discard_reaches_image(self):
        if vm.QEMU:
            self.skipTest('another spelling there')
        drive = Drive(self.blank(16), extra=',discard=unmap')
        subprocess.run(['mke2fs', '-q', '-t', 'ext4', drive.path], check=True)
        m = self.vm(drives=[Drive(self.rootfs()), drive]).ready()
        self.assertEqual(m.sh('cat /sys/block/vd[ab]/queue/write_zeroes_max_bytes').split(), ['0', str(32 << 20)])
        m.sh('mount /dev/vdb /mnt; dd if=/dev/urandom of=/mnt/data bs=64k count=128 2>/dev/null; sync')
        full = os.stat(drive.path).st_blocks
        m.sh('rm /mnt/data; sync; fstrim /mnt')
        self.assertLess(os.stat(drive.path).st_blocks, full // 2)
        m.send('poweroff\n')
        m.ended_well()
        vm.fsck(drive.path)

    def test_second_machine_on_same_writable_image_is_refused(self):
        m = self.vm().ready()
        other = self.vm(drives=[Drive(m.drives[0].path)])
        self.assertEqual(other.wait(), 1)
        self.assertRegex(other.said(), 'in use|lock')
        self.assertEqual(m.sh('echo alive'), 'alive')
        m.finish()

    def test_image_is_free_as_soon_as_machine_has_ended(self):
        path = self.rootfs()
        for _ in range(3):
            m = self.vm(drives=[Drive(path)]).ready()
            m.sh('dd if=/dev/vda of=/dev/null bs=64k count=64 2>/dev/null')
            m.command('quit')
            m.ended_well()

    def test_two_machines_share_readonly_image(self):
        path = self.rootfs()
        first = self.vm(drives=[Drive(path, readonly=True)]).ready()
        second = self.vm(drives=[Drive(path, readonly=True)]).ready()
        first.finish()
        second.finish()

    def test_killed_machine_keeps_synced_data(self):
        m = self.vm().ready()
        m.sh('echo kept >/root/file; sync')
        m.process.kill()
        m.process.wait()
        subprocess.run(['e2fsck', '-fy', m.drives[0].path], capture_output=True, check=False) # replays the journal
        self.assertEqual(vm.file_in(m.drives[0].path, '/root/file'), 'kept\n')


class MountedExt4:
    """A loop-mounted ext4 in directory, while the block lasts."""

    def __init__(self, image, directory):
        self.image, self.at = image, os.path.join(directory, 'mounted')

    def __enter__(self):
        subprocess.run(['mke2fs', '-q', '-t', 'ext4', self.image], check=True)
        os.mkdir(self.at)
        subprocess.run(['mount', '-o', 'loop', self.image, self.at], check=True)
        return self.at

    def __exit__(self, *_):
        subprocess.run(['umount', '-l', self.at], check=True)
