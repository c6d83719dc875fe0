"""The memory promise with everything that a machine can have at once."""
import os
import time

import vm
from case import LabCase
from host import Peer, sending
from vm import Drive


class Everything(LabCase):
    def test_machine_with_every_device_stays_within_its_memory_after_1000_commands(self):
        taps = self.tap(), self.tap()
        m = self.stock(drives=[Drive(self.rootfs()), *(Drive(self.blank(i)) for i in (5, 6, 7))], options=[
            *(word for i, tap in enumerate(taps) for word in (
                '-netdev', f'tap,id=net{i},ifname={tap.name}', '-device', f'virtio-net-device,netdev=net{i},id=net{i},mac={tap.mac}')),
            '-device', 'virtio-serial-device,id=serial0', '-chardev', 'socket,id=console0,path={dir}/console.sock,server,nowait',
            '-device', 'virtconsole,chardev=console0,id=hvc,nr=0',
            '-object', 'rng-random,id=random0,filename=/dev/urandom', '-device', 'virtio-rng-device,rng=random0,id=rng0',
            '-device', 'vhost-vsock-device,id=vsock0,guest-cid=52'])
        m.connect(os.path.join(m.dir, 'console.sock'))
        m.sh('head -c 100000 /dev/hwrng >/dev/null; seq 1 10000 >/dev/hvc0')
        m.sh('for d in b c d; do dd if=/dev/urandom of=/dev/vd$d bs=1M count=4 conv=fsync 2>/dev/null; done; cat /dev/vd[bcd] >/dev/null')
        for tap in taps:
            name = m.sh(f'cd /sys/class/net; grep -l {tap.mac} */address').split('/')[0]
            m.sh(f'ip addr add {tap.guest}/24 dev {name}; ip link set {name} up')
            peer = Peer(sending(bytes(8 << 20)), (tap.host, 0))
            self.assertEqual(m.sh(f'peer {tap.host} {peer.port} </dev/null | wc -c'), str(8 << 20))
            peer.done()
        with m.client() as client:
            self.commands(client, 1000)
            m.measure()
        m.finish()

    def commands(self, client, count):
        """Commands that are answered: what goes too fast is refused, and asked again."""
        names = ['query-status', 'query-version', 'query-cpus', 'query-commands', 'query-qmp-schema', 'query-block', 'query-chardev', 'no-such-command']
        if vm.QEMU:
            names = ['query-status', 'query-version']
        answered = 0
        while answered < count:
            answer = client.cmd_raw(names[answered % len(names)])
            if answer.get('error', {}).get('class') == 'OperationThrottled':
                time.sleep(0.1)
            else:
                answered += 1
