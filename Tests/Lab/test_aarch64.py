"""What an aarch64 kernel says of its machine, and what there is on no other architecture."""
import re

import vm
from case import LabCase, only


@only('aarch64')
class DeviceTree(LabCase):
    def messages(self, m, levels='0-7'):
        return re.findall(rf'^<[{levels}]>\[ *[\d.]+\] (.*)$', m.sh('dmesg -r'), re.M)

    def test_kernel_has_nothing_to_complain_of(self):
        m = self.stock(cpus=2)
        complaints = self.messages(m, '0-4')
        # Of the emulated machine below: it is slow.
        strange = [line for line in complaints if not line.startswith('hrtimer: interrupt took ')]
        if vm.QEMU: # its own PCI bridge
            strange = [line for line in strange if not line.startswith('pci-host-generic ')]
        self.assertEqual(strange, [])
        m.finish()

    def test_kernel_finds_every_fixed_device(self):
        m = self.stock(cpus=2)
        said = '\n'.join(self.messages(m))
        for words in ('psci: PSCIv1.* detected in firmware', 'GICv3: CPU1: found redistributor 1 ', r'ITS \[mem 0x08080000-0x0809ffff\]',
                      r'arch_timer: cp15 timer\(s\) running at .* \(virt\)', r'9000000\.pl011: ttyAMA0 at MMIO 0x9000000', r'9010000\.pl031: setting system clock to ', r'9030000\.gpio: PL061 GPIO chip registered', 'input: gpio-keys '):
            self.assertRegex(said, words)
        interrupts = m.sh('cat /proc/interrupts')
        for line, trigger, name in ((33, 'Level|Edge', 'uart-pl011'), (34, 'Level', 'rtc-pl031'), (27, 'Level', 'arch_timer')):
            self.assertRegex(interrupts, rf'GICv3 +{line} +({trigger}) +{name}')
        m.finish()

    def test_alarm_of_the_clock_rings(self):
        m = self.vm().ready()
        m.sh('cd /sys/class/rtc/rtc0; echo +2 >wakealarm; until [ -z "$(cat wakealarm)" ]; do sleep 0.2; done')
        self.assertRegex(m.sh('grep rtc-pl031 /proc/interrupts'), r': +[1-9]')
        m.finish()

    def test_time_that_others_stole_is_the_guests_to_see(self):
        m = self.stock(cpus=4, options=['-cpu', 'host,kvm-steal-time=on'])
        self.assertIn('arm-pv: using stolen time PV', '\n'.join(self.messages(m)))
        # More processors that work than the machine below has.
        m.sh('for i in 1 2 3 4; do (i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); done) & done; wait')
        stolen = [int(line.split()[8]) for line in m.sh('grep "^cpu[0-9]" /proc/stat').splitlines()]
        self.assertTrue(len(stolen) == 4 and all(stolen), stolen)
        m.finish()

    def test_twenty_four_devices_have_an_interrupt_each(self):
        devices = 24
        m = self.stock(options=['-object', 'rng-random,id=random0,filename=/dev/urandom',
                                *(word for i in range(devices) for word in ('-device', f'virtio-rng-device,rng=random0,id=rng{i}'))])
        self.assertEqual(m.sh('ls -d /sys/bus/virtio/drivers/virtio_rng/virtio* | wc -l'), str(devices))
        lines = re.findall(r'GICv3 +(\d+) +Edge +virtio\d+', m.sh('cat /proc/interrupts'))
        self.assertGreaterEqual(len(set(lines)), devices)
        self.assertEqual(len(lines), len(set(lines)))
        said = m.sh('cd /sys/class/misc/hw_random; for rng in $(cat rng_available); do echo $rng >rng_current; head -c 64 /dev/hwrng | wc -c; done')
        self.assertEqual(said.split(), ['64'] * devices)
        m.finish()
