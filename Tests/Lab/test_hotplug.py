"""Disks and NICs that come and go in the slots of a running machine, under Debian's kernel."""
import os

import vm
from case import LabCase
from host import Flood, ping
from kata import QMP

ROUNDS = 10


class Hotplug(LabCase):
    def setUp(self):
        super().setUp()
        if vm.QEMU:
            self.skipTest("QEMU's microvm has no slots")

    def test_disk_is_plugged_and_unplugged_ten_times_while_guest_works(self):
        m = self.stock()
        client = QMP(m)
        m.sh('(while :; do dd if=/dev/vda of=/dev/null bs=64k count=64; done 2>/dev/null >/dev/null) & :')
        for i in range(ROUNDS):
            slot = i % 3 + 1
            disk, image = f'vd{"abcd"[slot]}', os.path.join(self.dir, f'{i}.img')
            with open(image, 'wb') as file:
                file.write(f'disk {i}'.encode().ljust(512))
                file.truncate((i + 1) << 20)
            client.execute('blockdev-add', driver='raw', node_name='plugged', file={'driver': 'file', 'filename': image}, cache={'direct': False})
            client.execute('device_add', id='plugged', driver='virtio-blk-mmio', drive='plugged', addr=str(slot))
            m.sh(f'while [ $(cat /sys/block/{disk}/size) != {(i + 1) * 2048} ]; do sleep 0.05; done')
            self.assertEqual(m.sh(f'head -c 6 /dev/{disk}'), f'disk {i}')
            m.sh(f'echo guest {i} | dd of=/dev/{disk} bs=512 seek=1 conv=sync,fsync 2>/dev/null')
            if i % 2: # also while the guest uses it
                m.sh(f'(while dd if=/dev/urandom of=/dev/{disk} bs=64k seek=1 conv=fsync; do :; done >/dev/null 2>&1) & :')
            client.execute('device_del', id='plugged')
            client.wait_for_event('DEVICE_DELETED', device='plugged')
            client.execute('blockdev-del', node_name='plugged')
            m.sh(f'while [ $(cat /sys/block/{disk}/size) != 0 ]; do sleep 0.05; done')
            with open(image, 'rb') as file:
                self.assertEqual(file.read(1024)[512:].rstrip(b'\0'), f'guest {i}\n'.encode())
        client.close()
        self.assertEqual(m.sh('cat /sys/block/vd[bcd]/size').split(), ['0', '0', '0'])
        m.finish()

    def test_nic_is_plugged_and_unplugged_ten_times_while_packets_come(self):
        taps = self.tap(), self.tap()
        m = self.stock()
        client = QMP(m)
        for slot, tap in enumerate(taps):
            m.sh(f'ip addr add {tap.guest}/24 dev eth{slot}; ip link set eth{slot} up')
            self.assertEqual(m.sh(f'cat /sys/class/net/eth{slot}/carrier'), '0')
        for i in range(ROUNDS):
            slot, vhost = i % 2, i % 4 > 1
            tap, name = taps[slot], f'eth{slot}'
            client.execute('netdev_add', type='tap', id='plugged', ifname=tap.name, **({'vhost': True} if vhost else {}))
            client.execute('device_add', id='plugged', driver='virtio-net-mmio', netdev='plugged', addr=str(slot), mac=tap.mac)
            m.sh(f'while [ $(cat /sys/class/net/{name}/carrier) = 0 ]; do sleep 0.05; done')
            self.assertIn('2 packets received', m.sh(ping(tap.host, 2)))
            flood = Flood(tap.guest)
            client.execute('device_del', id='plugged')
            client.wait_for_event('DEVICE_DELETED', device='plugged')
            client.execute('netdev_del', id='plugged')
            flood.stop()
            m.sh(f'while [ $(cat /sys/class/net/{name}/carrier) = 1 ]; do sleep 0.05; done')
        client.close()
        m.finish()
