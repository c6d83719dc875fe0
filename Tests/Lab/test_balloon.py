"""The balloon under Debian's kernel: memory that the guest gives back is the host's again."""
import os
import re
import time

import vm
from case import LabCase

MIB = 1 << 20
MARGIN = 20  # MiB
SMALL = 352  # MiB that a guest of 512 is left with


class Balloon(LabCase):
    def balloon(self, properties='', **configuration):
        m = self.stock(options=['-device', f'virtio-balloon-device,id=balloon0{properties}'], **configuration)
        self.assertIn('virtio_balloon', m.sh('ls /sys/bus/virtio/drivers'))
        return m

    def resident(self, m):
        """MiB of the process, its guest's memory included: what the host misses. (smaps_rollup of Linux 6.1 leaves out mappings when the lock is contended.)"""
        with open(f'/proc/{m.process.pid}/status', encoding='utf-8') as status:
            return int(re.search(r'^VmRSS:\s+(\d+) kB', status.read(), re.M).group(1)) / 1024

    def in_file(self, m):
        """MiB of the shared memory's file, whoever maps it."""
        folder = f'/proc/{m.process.pid}/fd'
        memory, = {os.stat(f'{folder}/{fd}').st_ino: f'{folder}/{fd}' for fd in os.listdir(folder)
                   if 'memfd:guest-ram' in os.readlink(f'{folder}/{fd}')}.values()
        return os.stat(memory).st_blocks * 512 / MIB

    def until(self, what, condition):
        """Waits as long as something still changes, and some time more."""
        quiet, last = 0, None
        while True:
            value, is_true = condition()
            if is_true:
                return value
            quiet, last = 0 if value != last else quiet + 1, value
            self.assertLess(quiet, 2 * vm.HANG, f'{what}: stays at {value}')
            time.sleep(0.5)

    def size_becomes(self, client, size):
        client.cmd('balloon', value=size)
        self.until('size', lambda: (lambda actual: (actual, actual == size))(client.cmd('query-balloon')['actual']))

    def fill(self, m, mib):
        """The guest uses so much more memory, and frees it again."""
        m.sh(f'mount -t tmpfs -o size={mib + 1}m none /mnt && dd if=/dev/zero of=/mnt/file bs=1M count={mib} 2>/dev/null')
        m.sh('umount /mnt')

    def inflate(self, client, m, memory):
        """All that the guest has lost is the host's."""
        self.fill(m, 330)
        self.assertGreater(memory(m), SMALL + MARGIN)
        self.size_becomes(client, SMALL * MIB)
        self.assertIn('BALLOON_CHANGED', [e['event'] for e in client.get_events(wait=True)])
        self.assertLess(memory(m), SMALL + MARGIN)

    def test_balloon_takes_memory_and_gives_it_back_and_statistics_arrive(self):
        m = self.balloon()
        with m.client() as client:
            self.inflate(client, m, self.resident)
            self.size_becomes(client, 512 * MIB)
        # What came back is not there before the guest uses it.
        self.assertLess(self.resident(m), SMALL + MARGIN)
        self.fill(m, 330)
        self.assertGreater(self.resident(m), SMALL + MARGIN)
        place = {'path': '/machine/peripheral/balloon0'}
        with m.client() as client:
            if not vm.QEMU:
                self.assertEqual(client.cmd('qom-get', property='guest-stats-polling-interval', **place), 0)
            client.cmd('qom-set', property='guest-stats-polling-interval', value=1, **place)

            def asked(since):
                said = client.cmd('qom-get', property='guest-stats', **place)
                return said, said['last-update'] > since
            first = self.until('statistics', lambda: asked(0))
            said = self.until('statistics', lambda: asked(first['last-update']))['stats']
        self.assertTrue(400 * MIB < said['stat-total-memory'] <= 512 * MIB, said)
        self.assertTrue(100 * MIB < said['stat-free-memory'] < said['stat-total-memory'], said)
        self.assertTrue(100 * MIB < said['stat-available-memory'] < said['stat-total-memory'], said)
        self.assertGreater(said['stat-minor-faults'], 0)
        m.finish()

    def test_shared_memory_goes_back_to_the_host_too(self):
        m = self.balloon(share=True)
        with m.client() as client:
            self.inflate(client, m, self.in_file)
        self.assertLess(self.resident(m), SMALL + MARGIN)
        m.finish()

    def test_free_page_reporting_gives_back_what_the_guest_frees(self):
        m = self.balloon(',free-page-reporting=on')
        before = self.resident(m)
        self.fill(m, 200)
        self.until('resident memory', lambda: (lambda now: (now, now < before + MARGIN))(self.resident(m)))
        # The same pages again.
        m.sh('mount -t tmpfs none /mnt; cd /mnt; dd if=/dev/urandom of=data bs=1M count=48 2>/dev/null; cp data copy; cmp data copy; cd /; umount /mnt')
        m.finish()

    def test_auto_balloon_follows_the_guest(self):
        if vm.QEMU:
            self.skipTest('not there')
        m = self.balloon(',auto-balloon=on,deflate-on-oom=on,membuf-percent=50,monitor-interval=5')
        with m.client() as client:
            def settled():
                """The size, and whether it stands still at what the guest's memory asks for: half of what could be spared is in the balloon."""
                actual = client.cmd('query-balloon')['actual']
                spare = 512 - actual / MIB + int(m.sh("sed -n 's/^MemAvailable: *//p' /proc/meminfo").split()[0]) / 1024
                time.sleep(1)
                stands = client.cmd('query-balloon')['actual'] == actual
                return actual / MIB, stands and abs(512 - spare / 2 - actual / MIB) < MARGIN / 2
            small = self.until('size', settled)
            self.assertLess(small, 400)
            m.sh('mount -t tmpfs -o size=120m none /mnt && dd if=/dev/zero of=/mnt/file bs=1M count=100 2>/dev/null')
            large = self.until('size', settled)
            self.assertGreater(large, small + 50 - MARGIN)
            m.sh('umount /mnt')
            self.assertLess(self.until('size', settled), large - 50 + MARGIN)
        m.finish()
