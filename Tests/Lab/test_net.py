"""virtio-net on a tap under Debian's kernel: what arrives is what was sent, and nothing makes it stand still."""
import os

from case import LabCase, slow
from host import Flood, Peer, ip, opened, ping, receiving, sending

MIB = 1 << 20
AMOUNT = 64 * MIB


class Net(LabCase):
    def guest(self, taps, **configuration):
        """A stock guest with a NIC for each (tap, words of its netdev), all of them up."""
        options = []
        for i, (tap, words) in enumerate(taps):
            mq = ',mq=on' if tap.queues > 1 else ''
            options += ['-netdev', f'tap,id=net{i},{words}', '-device', f'virtio-net-device,netdev=net{i},id=net{i},mac={tap.mac}{mq}']
        m = self.stock(options=options, **configuration)
        for i, (tap, _) in enumerate(taps):
            self.bring_up(m, tap)
        return m

    def bring_up(self, m, tap):
        """Finds the guest's interface by its MAC and gives it its address; answers its name."""
        name = m.sh(f'cd /sys/class/net; grep -l {tap.mac} */address').split('/')[0]
        m.sh(f'ip addr add {tap.guest}/24 dev {name}; ip link set {name} up')
        return name

    def transfers(self, m, tap, flows):
        """AMOUNT to the guest and back, over so many connections at once: what comes back is what was sent."""
        data = [os.urandom(MIB) * (AMOUNT // MIB // flows) for _ in range(flows)]
        for command, serve in (('peer {host} {port} </dev/null >/tmp/{i}', sending), ('peer {host} {port} </tmp/{i}', lambda _: receiving)):
            peers = [Peer(serve(part), (tap.host, 0)) for part in data]
            m.sh('(' + '& '.join(command.format(host=tap.host, port=p.port, i=i) for i, p in enumerate(peers)) + '& wait)')
            back = [p.done() for p in peers]
        self.assertTrue(back == data, 'what came back is not what was sent')
        m.sh('rm /tmp/[0-9]*')

    def works(self, taps, **configuration):
        m = self.guest(taps, **configuration)
        for tap, _ in taps:
            name = m.sh(f'cd /sys/class/net; grep -l {tap.mac} */address').split('/')[0]
            self.assertEqual(m.sh(f'ls -d /sys/class/net/{name}/queues/tx-* | wc -l'), str(tap.queues))
            self.assertIn('3 packets received', m.sh(ping(tap.host, 3)))
            self.transfers(m, tap, tap.queues)
        m.finish()

    def test_ping_and_64_mib_both_ways_with_1_queue_userspace_and_vhost(self):
        userspace, vhost = self.tap(), self.tap()
        self.works([(userspace, f'ifname={userspace.name}'), (vhost, f'ifname={vhost.name},vhost=on')])

    @slow
    def test_ping_and_64_mib_both_ways_with_2_queues_userspace_and_vhost_by_descriptors(self):
        userspace, vhost = self.tap(2), self.tap(2)
        inherit = [*vhost.open_queues(), opened('/dev/vhost-net'), opened('/dev/vhost-net')]
        for descriptor in inherit:
            self.addCleanup(os.close, descriptor)
        self.works([(userspace, f'ifname={userspace.name},queues=2'), (vhost, 'fds=3:4,vhost=on,vhostfds=5:6')], cpus=2, inherit=inherit)

    def test_receive_goes_on_after_flood_on_interface_that_goes_down_and_up(self):
        taps = self.tap(), self.tap()
        m = self.guest([(taps[0], f'ifname={taps[0].name}'), (taps[1], f'ifname={taps[1].name},vhost=on')])
        for tap in taps:
            name = m.sh(f'cd /sys/class/net; grep -l {tap.mac} */address').split('/')[0]
            ip('neigh', 'replace', tap.guest, 'lladdr', tap.mac, 'dev', tap.name)
            flood = Flood(tap.guest)
            for _ in range(5):
                m.sh(f'ip link set {name} down; sleep 0.3; ip link set {name} up; sleep 0.3')
            self.assertGreater(flood.stop(), 100)
            self.assertIn('3 packets received', m.sh(ping(tap.host, 3)))
        m.finish()
