"""As many devices as there are interrupt lines."""
import vm
from case import LabCase, only
from vm import Drive

DEVICES = 17 # lines 5 to 15 without 8, the clock's, and 17 to 23 of the I/O APIC; 16 is the power button's


@only('x86_64')
class Lines(LabCase):
    def options(self, ports):
        return ['-device', 'virtio-serial-device,id=serial0', '-object', 'rng-random,id=random0,filename=/dev/urandom',
                *(word for i in range(ports) for word in ('-device', f'virtio-rng-device,rng=random0,id=rng{i}')),
                '-device', 'vhost-vsock-device,id=vsock0,guest-cid=53']

    def test_stock_kernel_drives_disks_on_lines_of_the_io_apic_beyond_15(self):
        if vm.QEMU:
            self.skipTest('other lines there')
        disks = DEVICES - 5 # two NICs, serial, rng, vsock
        drives = [Drive(self.rootfs()), *(Drive(self.blank(i)) for i in range(2, disks + 1))]
        m = self.stock(drives=drives, options=self.options(1))
        names = ['vd' + 'abcdefghijklmnop'[i] for i in range(disks)]
        self.assertEqual(m.sh('ls -d /sys/bus/virtio/devices/* | wc -l'), str(DEVICES))
        self.assertEqual(m.sh(f'cd /sys/block; cat {" ".join(n + "/size" for n in names)}').split(), ['65536', *(str(i * 2048) for i in range(2, disks + 1))])
        for i, name in enumerate(names[1:], 1):
            m.sh(f'echo this is {name} | dd of=/dev/{name} conv=sync,fsync 2>/dev/null')
        m.finish()
        for name, drive in list(zip(names, drives))[1:]:
            with open(drive.path, 'rb') as image:
                self.assertEqual(image.read(512).rstrip(b'\0'), f'this is {name}\n'.encode())

    def test_one_device_too_many_is_refused(self):
        if vm.QEMU:
            self.skipTest('other lines there')
        m = self.vm(drives=[Drive(self.rootfs()), *(Drive(self.blank(i)) for i in range(2, DEVICES - 4))], options=self.options(2))
        self.assertEqual(m.wait(), 1)
        self.assertRegex(m.said(), f'no interrupt is left for device vsock0: {DEVICES} devices fit')
