"""Counters, trace events and the boot timer under real kernels."""
import os
import re

import vm
from arch import ARCH
from case import LabCase
from vm import Drive


def by_name(objects):
    """The statistics of each object of query-stats, by name."""
    return [{s['name']: s['value'] for s in o['stats']} for o in objects]


class Numbers(LabCase):
    def log(self, m):
        with open(os.path.join(m.dir, 'log'), encoding='utf-8') as log:
            return log.read().splitlines()

    def test_counters_are_what_the_guest_did(self):
        if vm.QEMU:
            self.skipTest('other providers there')
        m = self.stock(drives=[Drive(self.blank(16))], cpus=2, options=['-D', '{dir}/log'])
        with m.client() as client:
            def disk():
                return client.cmd('query-blockstats')[0]['stats']

            def stats(target, provider):
                return by_name(client.cmd('query-stats', target=target, providers=[{'provider': provider}]))

            first, device, exits, kernel = disk(), stats('device', 'stratovirt')[0], stats('vcpu', 'stratovirt'), stats('vcpu', 'kvm')
            m.sh('dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct')
            read = disk()
            self.assertEqual(read['rd_bytes'] - first['rd_bytes'], 4 << 20)
            self.assertEqual(read['rd_operations'] - first['rd_operations'], 64)
            self.assertGreater(read['rd_total_time_ns'], first['rd_total_time_ns'])
            self.assertEqual(read['wr_bytes'], first['wr_bytes'])
            m.sh('dd if=/dev/zero of=/dev/vda bs=64k count=32 seek=100 oflag=direct conv=fsync')
            written = disk()
            self.assertEqual(written['wr_bytes'] - read['wr_bytes'], 2 << 20)
            self.assertEqual(written['wr_highest_offset'], 132 * 65536)
            self.assertGreaterEqual(written['flush_operations'], read['flush_operations'] + 1)
            self.assertEqual(written['failed_rd_operations'] + written['failed_wr_operations'], 0)
            after = stats('device', 'stratovirt')[0]
            requests = sum(written[f'{kind}_operations'] - first[f'{kind}_operations'] for kind in ('rd', 'wr', 'flush', 'unmap'))
            self.assertEqual(after['requests'] - device['requests'], requests)
            self.assertGreaterEqual(after['bytes-to-guest'] - device['bytes-to-guest'], 4 << 20)
            self.assertGreaterEqual(after['bytes-from-guest'] - device['bytes-from-guest'], 2 << 20)
            self.assertGreater(after['notifications'], device['notifications'])
            self.assertGreater(after['interrupts'], device['interrupts'])
            self.assertEqual((after['dropped-requests'], after['resets-requested'], after['activations']), (0, 0, 1))
            # The console's characters are exits.
            self.assertGreater(*(sum(c[ARCH.console_exits] for c in counters) for counters in (stats('vcpu', 'stratovirt'), exits)))
            grown = stats('vcpu', 'kvm')
            self.assertEqual(len(grown), 2)
            self.assertGreater(sum(c['exits'] for c in grown), sum(c['exits'] for c in kernel))
            for own, theirs in zip(stats('vcpu', 'stratovirt'), stats('vcpu', 'kvm')):
                self.assertGreaterEqual(theirs['exits'], own['exits'] - own['interruptions'])
            schemas = {(s['provider'], s['target']) for s in client.cmd('query-stats-schemas')}
            self.assertIn(('kvm', 'vcpu'), schemas)
        m.finish()

    def test_boot_timer_and_trace_events_are_in_the_log(self):
        if vm.QEMU:
            self.skipTest('not there')
        # Debian's kernel for clouds has no /dev/port.
        m = self.vm(append=f'{vm.APPEND} iomem=relaxed', drives=[Drive(self.rootfs()), Drive(self.blank(4))],
                    options=['-D', '{dir}/log', '-trace', 'type=scopes', '-trace', 'virtio_status']).ready()
        for mark in (1, 2, 2, 1):
            m.sh(ARCH.boot_mark.format(mark=mark))
        marks = [re.search(r':INFO: (the guest.*) after (\d+\.\d{3}) ms$', line) for line in self.log(m)]
        marks = [(mark[1], float(mark[2])) for mark in marks if mark]
        self.assertEqual([what for what, _ in marks], ["the guest's kernel has started", 'the guest has booted'])
        self.assertLess(marks[0][1], marks[1][1])
        with m.client() as client:
            machine = by_name(client.cmd('query-stats', target='vm', providers=[{'provider': 'stratovirt'}]))[0]
            self.assertAlmostEqual(machine['boot-init'] / 1e6, marks[1][1], delta=0.001)

            def traced(event):
                return [line for line in self.log(m) if f':TRACE: {event}: ' in line]
            self.assertEqual(len(traced('boot_load')), 2)
            # The driver's four steps; the device may be reset before and tried again after.
            self.assertGreaterEqual(len([line for line in traced('virtio_status') if ' drive1 ' in line]), 4)
            client.cmd('trace-set-state', name='block_*', enable=True)
            m.sh('dd if=/dev/vdb of=/dev/null bs=64k count=5 iflag=direct')
            client.cmd('trace-set-state', name='*', enable=False)
            told = [line for line in traced('block_start') if 'drive1 read ' in line and 'bytes=65536' in line]
            self.assertEqual(len(told), 5)
            self.assertGreaterEqual(len(traced('block_end')), 5)
            count = len(self.log(m))
            m.sh('dd if=/dev/vdb of=/dev/null bs=64k count=5 iflag=direct')
            self.assertEqual(len(self.log(m)), count)
        m.finish()
