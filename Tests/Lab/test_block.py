"""Disks under load: every engine's data arrives, limits hold, what a guest was told is stable survives the monitor's death."""
import base64
import os
import random
import re
import subprocess
import time

import vm
from case import LabCase, slow
from test_disk import MountedExt4
from vm import Drive

MIB = 1 << 20
CHUNK, CHUNKS = 8 * MIB, 32 # 256 MiB; each chunk is the same noise behind another number
FILL = f'''dd if=/dev/urandom of=/tmp/noise bs=1M count={CHUNK // MIB} 2>/dev/null
mount /dev/vdb /mnt && for i in $(seq {CHUNKS}); do printf %08d $i | dd of=/tmp/noise conv=notrunc 2>/dev/null; cat /tmp/noise; done >/mnt/data
umount /mnt'''.replace('\n', '; ')

# Numbers, each written to the next of 64 sectors of each disk and told once it is stable.
COUNT = '''n=0; while :; do n=$((n+1)); for d in b c d e f g; do
printf '%-512d' $n | dd of=/dev/vd$d bs=512 seek=$((n%64)) conv=notrunc,fsync 2>/dev/null && echo "stable $d $n."; done; done'''
ENGINES = [('native', True, ',aio=native'), ('uring', True, ',aio=io_uring'), ('threads', True, ',aio=threads'),
           ('buffered', False, ',aio=io_uring'), ('through', False, ',aio=threads,cache.writeback=off'), ('off', False, ',aio=off')]


class Block(LabCase):
    @slow
    def test_256_mib_by_native_are_on_the_image(self):
        self.fill('native')

    @slow
    def test_256_mib_by_io_uring_are_on_the_image(self):
        self.fill('io_uring')

    @slow
    def test_256_mib_by_threads_are_on_the_image(self):
        self.fill('threads')

    @slow
    def test_256_mib_by_off_are_on_the_image(self):
        self.fill('off', direct=False)

    def fill(self, aio, direct=True):
        with MountedExt4(self.blank(340), self.dir) as directory: # tmpfs refuses O_DIRECT
            path = os.path.join(directory, aio)
            with open(path, 'wb') as image:
                image.truncate(280 << 20)
            subprocess.run(['mke2fs', '-q', '-t', 'ext4', '-O', '^has_journal', path], check=True)
            m = self.vm(drives=[Drive(self.rootfs()), Drive(path, direct=direct, extra=f',aio={aio}')]).ready()
            self.assertEqual([n['aio'] for n in m.command('query-named-block-nodes') if n['node-name'] == 'drive1'], [aio])
            m.sh(FILL)
            m.finish()
            self.check_filled(path)

    def check_filled(self, path):
        vm.fsck(path)
        at = os.path.join(self.dir, 'inside')
        os.mkdir(at)
        subprocess.run(['mount', '-o', 'loop,ro', path, at], check=True)
        try:
            with open(os.path.join(at, 'data'), 'rb') as data:
                noise = data.read(CHUNK)[8:]
                data.seek(0)
                for number in range(1, CHUNKS + 1):
                    chunk = data.read(CHUNK)
                    self.assertTrue(chunk[:8] == b'%08d' % number and chunk[8:] == noise, f'{path}: chunk {number}')
                self.assertEqual(data.read(1), b'')
        finally:
            subprocess.run(['umount', at], check=True)

    @slow
    def test_limits_hold_within_5_percent_and_change_at_once(self):
        drives = [Drive(self.rootfs()), Drive(self.blank(64), extra=',throttling.iops-total=60'),
                  Drive(self.blank(65), extra=',throttling.bps-read=2000000'),
                  Drive(self.blank(66), extra=',throttling.iops-read=30,throttling.iops-read-max=80,throttling.iops-read-max-length=5')]
        m = self.vm(drives=drives).ready()
        with m.client() as client:
            def done():
                stats = {entry['node-name']: entry['stats'] for entry in client.cmd('query-blockstats')}
                return time.monotonic(), [(stats[f'drive{i}']['rd_operations'], stats[f'drive{i}']['rd_bytes']) for i in (1, 2, 3)]

            def rates(seconds):
                (begin, before), _ = done(), time.sleep(seconds)
                end, after = done()
                return [((a[0] - b[0]) / (end - begin), (a[1] - b[1]) / (end - begin)) for a, b in zip(after, before)]

            # Three readers of each disk: the guest alone is not to be what limits them.
            m.sh('for d in b c d; do for k in 0 1 2; do dd if=/dev/vd$d of=/dev/null bs=16k skip=$((k*1000)) iflag=direct 2>/dev/null & done; done')
            time.sleep(0.5)
            burst = rates(3)[2][0]
            self.within(burst, 80)
            time.sleep(7) # the bucket of 400 is full after 400 / (80 - 30) seconds
            iops, bps, calm = rates(8)
            self.within(iops[0], 60)
            self.within(bps[1], 2000000)
            self.within(calm[0], 30)
            limits = dict.fromkeys(('bps', 'bps_rd', 'bps_wr', 'iops_rd', 'iops_wr'), 0)
            client.cmd('block_set_io_throttle', id='drive1', iops=20, **limits)
            time.sleep(0.5)
            self.within(rates(5)[0][0], 20)
            self.assertEqual([node['inserted']['iops'] for node in client.cmd('query-block') if node['device'] == 'drive1'], [20])
            # One request a second: neither the other disks nor QMP wait, nor does a pause.
            client.cmd('block_set_io_throttle', id='drive1', iops=1, **limits)
            began = time.monotonic()
            m.sh('dd if=/dev/vda of=/dev/null bs=64k count=64 skip=64 iflag=direct 2>/dev/null')
            client.cmd('stop')
            client.cmd('cont')
            self.assertLess(time.monotonic() - began, 20)
        m.finish()

    def within(self, rate, limit):
        self.assertTrue(0.95 * limit <= rate <= 1.05 * limit, f'{rate} instead of {limit}')

    @slow
    def test_what_was_stable_is_on_the_image_after_20_kills(self):
        instants = random.Random(20)
        root = self.rootfs()
        with MountedExt4(self.blank(64), self.dir) as directory:
            for _ in range(20):
                drives = []
                for name, direct, extra in ENGINES:
                    path = os.path.join(directory, name)
                    with open(path, 'wb') as image:
                        image.truncate(MIB)
                    drives.append(Drive(path, direct=direct, extra=extra))
                m = self.vm(drives=[Drive(root, readonly=True), *drives], qmp=False,
                            append=f'{vm.APPEND} autorun={base64.b64encode(COUNT.encode()).decode()}')
                m.wait_for(r'stable g 2\.')
                time.sleep(instants.uniform(0, 1))
                m.process.kill()
                m.process.wait()
                m.reader.join()
                for disk, drive in zip('bcdefg', drives):
                    self.check_stable(m.console, disk, drive.path)
                m.close()

    def check_stable(self, console, disk, path):
        told = [int(number) for number in re.findall(rf'stable {disk} (\d+)\.', console)]
        self.assertEqual(told, list(range(1, len(told) + 1)))
        self.assertGreaterEqual(len(told), 2)
        with open(path, 'rb') as image:
            sectors = [int(image.read(512).strip(b' \0') or 0) for _ in range(64)]
        for number in told[-64:]:
            self.assertGreaterEqual(sectors[number % 64], number, f'{path}: {number} was stable')
            self.assertEqual(sectors[number % 64] % 64, number % 64)

    def test_several_queues_serve_several_processors(self):
        drive = Drive(self.blank(64))
        m = self.vm(drives=[Drive(self.rootfs())], cpus=2, options=[
            '-object', 'iothread,id=io', '-drive', f'id=many,file={drive.path},direct=off', '-device',
            'virtio-blk-device,drive=many,num-queues=4,queue-size=64,id=disk,iothread=io']).ready()
        self.assertEqual(m.sh('ls /sys/block/vdb/mq').split(), ['0', '1'] if m.sh('nproc') == '2' else ['0', '1', '2', '3'])
        m.sh('dd if=/dev/urandom of=/tmp/noise bs=64k count=64 2>/dev/null; for c in 1 2; do taskset $c dd if=/tmp/noise of=/dev/vdb bs=64k seek=$((c*100)) '
             'conv=fsync 2>/dev/null & done; wait; echo 3 >/proc/sys/vm/drop_caches')
        for c in (1, 2):
            m.sh(f'dd if=/dev/vdb bs=64k skip={c * 100} count=64 2>/dev/null | cmp - /tmp/noise')
        m.finish()

    def test_zeros_that_a_guest_writes_take_no_space(self):
        drive = Drive(self.blank(32), extra=',discard=unmap,detect-zeroes=unmap')
        m = self.vm(drives=[Drive(self.rootfs()), drive]).ready()
        m.sh('dd if=/dev/urandom of=/dev/vdb bs=64k count=256 conv=fsync 2>/dev/null')
        full = os.stat(drive.path).st_blocks
        m.sh('dd if=/dev/zero of=/dev/vdb bs=64k count=192 conv=fsync 2>/dev/null')
        self.assertLess(os.stat(drive.path).st_blocks, full // 3)
        m.sh('echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vdb bs=64k count=192 2>/dev/null | tr -d "\\0" | wc -c | grep -x 0')
        m.finish()
