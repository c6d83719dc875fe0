"""Network without privileges: passt behind -netdev stream, each run by an ordinary user, under Debian's kernel."""
import hashlib
import os
import socket

import vm
from case import LabCase, slow
from host import NOBODY, Passt, Peer, receiving
from kata import QMP
from vm import HANG

MIB = 1 << 20
AMOUNT = 64 * MIB
PORT = 5001


def first(connection, opening=b''):
    """What comes first after an opening; nothing also when the connection is reset before that."""
    try:
        connection.sendall(opening)
        return connection.recv(1 << 18)
    except ConnectionResetError:
        return b''


def answering(data):
    """An HTTP server's answer, whatever the question; gives whether there was one."""
    def serve(connection):
        if not first(connection):
            return False
        connection.sendall(b'HTTP/1.0 200 OK\r\n\r\n' + data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
        return True
    return serve


def greeting(connection):
    """Takes what comes, after a byte: until the guest has had some data this passt counts each 2 seconds of silence as a lost packet, and resets the connection at the eighth
    (tcp_update_seqack_from_tap: the end of the handshake does not count as an answer)."""
    start = first(connection, b'!')
    return start and start + receiving(connection)


class Stream(LabCase):
    def passt(self):
        passt = Passt(self.dir, PORT)
        self.addCleanup(passt.close)
        return passt

    def guest(self, passt, words='', mtu=65520, **configuration):
        m = self.stock(options=['-netdev', f'stream,id=net0,addr.type=unix,addr.path={passt.path}{words}', '-device', 'virtio-net-device,netdev=net0'],
                       **configuration)
        self.bring_up(m, passt, mtu)
        return m

    def bring_up(self, m, passt, mtu):
        m.sh(f'ip link set eth0 mtu {mtu}; ip addr add {passt.guest}/24 dev eth0; ip link set eth0 up; ip route add default via {passt.gateway}')

    def tcp_out(self, m, passt, amount):
        """To the guest and back over connections that the guest makes. It never closes its side before the other one does: this passt would send the same data for ever."""
        data = os.urandom(MIB) * (amount // MIB)
        self.connect(m, passt, answering(data), 'wget -q -O /tmp/data http://{0}:{1}/')
        back = self.connect(m, passt, greeting, 'rm -f /tmp/failed; (until [ -s /tmp/greeting ] || [ -e /tmp/failed ]; do sleep 0.1; done; cat /tmp/data) |'
                            ' {{ peer {0} {1} >/tmp/greeting || {{ touch /tmp/failed; false; }}; }}')
        self.assertTrue(back == data, 'what came back is not what was sent')
        m.sh('rm /tmp/data /tmp/greeting')

    def connect(self, m, passt, serve, command):
        """Runs a command that connects, {0} and {1} in it the address and the port that it gets; gives what serve gave. To a guest that is so slow that it sends its SYN twice
        this passt answers with a reset (tcp_tap_handler). When that has come before a byte of the guest's got here, it begins again."""
        for _ in range(5):
            peer = Peer(serve, ('127.0.0.1', 0))
            try:
                m.sh(command.format(passt.gateway, peer.port))
                return peer.done()
            except AssertionError as error:
                peer.thread.join(HANG)
                if 'Connection reset by peer' not in str(error) or peer.error or peer.result:
                    raise
                print('RETRY: passt has reset a connection before there was one', flush=True)
        return self.fail('five connections were reset')

    def tcp_in(self, m, amount):
        """To the guest and, as a sum, back, over a connection that this machine makes."""
        data = os.urandom(MIB) * (amount // MIB)
        m.sh(f'mkfifo /tmp/open; (nc -l -p {PORT} <>/tmp/open >/tmp/data; sha256sum </tmp/data >/tmp/sum) & :')
        with self.connected(m) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            m.sh('while [ ! -s /tmp/sum ]; do sleep 0.1; done')
        self.assertEqual(m.sh('cat /tmp/sum').split()[0], hashlib.sha256(data).hexdigest())
        m.sh('rm /tmp/data /tmp/sum /tmp/open')

    def connected(self, m):
        """Only when the guest listens: passt takes a connection before it knows whether the guest does."""
        m.sh(f"while ! netstat -ltn | grep -q ':{PORT} '; do sleep 0.1; done")
        s = socket.create_connection(('127.0.0.1', PORT), vm.HANG)
        s.settimeout(vm.HANG)
        return s

    def udp(self, m, passt):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(vm.HANG)
            s.bind(('127.0.0.1', 0))
            m.sh(f'echo from the guest | peer udp:{passt.gateway} {s.getsockname()[1]} >/tmp/answer & :')
            data, sender = s.recvfrom(100)
            self.assertEqual(data, b'from the guest\n')
            s.sendto(b'to the guest', sender)
            m.sh('while [ ! -s /tmp/answer ]; do sleep 0.1; done')
            self.assertEqual(m.sh('cat /tmp/answer; rm /tmp/answer'), 'to the guest')
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(vm.HANG)
            m.sh(f'echo pong | peer udp:0.0.0.0 {PORT} >/tmp/asked & :')
            m.sh(f"while ! netstat -lun | grep -q ':{PORT} '; do sleep 0.1; done")
            s.sendto(b'ping', ('127.0.0.1', PORT))
            self.assertEqual(s.recv(100), b'pong\n')
            self.assertEqual(m.sh('cat /tmp/asked; rm /tmp/asked'), 'ping')

    def none_lost(self, m):
        """The monitor has dropped no frame: TCP hides that."""
        if vm.QEMU:
            return
        with m.client() as client:
            stats, = (o['stats'] for o in client.cmd('query-stats', target='device', providers=[{'provider': 'stratovirt'}]) if o['qom-path'].endswith('/net0'))
        numbers = {s['name']: s['value'] for s in stats}
        self.assertGreater(numbers['bytes-to-guest'], AMOUNT)
        lost = 'rx-dropped-packets', 'tx-refused-packets', 'dropped-requests'
        self.assertEqual({name: numbers[name] for name in lost}, dict.fromkeys(lost, 0))

    def test_ordinary_user_has_tcp_and_udp_both_ways_through_passt(self):
        os.chmod('/dev/kvm', 0o666)
        passt = self.passt()
        m = self.guest(passt, ordinary=True)
        self.assertEqual(os.stat(f'/proc/{m.process.pid}').st_uid, NOBODY)
        self.udp(m, passt)
        self.tcp_out(m, passt, AMOUNT)
        self.tcp_in(m, 16 * MIB)
        m.sh('ip link set eth0 mtu 1500')
        self.tcp_out(m, passt, 4 * MIB)
        self.none_lost(m)
        m.finish()

    @slow
    def test_passt_that_is_killed_and_started_again_goes_on(self):
        passt = self.passt()
        m = self.guest(passt, ',reconnect=1', mtu=1500)
        self.tcp_out(m, passt, MIB)
        for _ in range(3):
            passt.kill()
            m.sh('while [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.1; done')
            passt.start()
            m.sh('while [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do sleep 0.1; done')
            self.udp(m, passt)
            self.tcp_out(m, passt, MIB)
        m.finish()

    @slow
    def test_stream_is_plugged_and_unplugged_by_qmp(self):
        if vm.QEMU:
            self.skipTest("QEMU's microvm has no slots")
        passt = self.passt()
        m = self.stock()
        client = QMP(m)
        for i in range(3):
            client.execute('netdev_add', type='stream', id='net', addr={'type': 'unix', 'path': passt.path}, server=False)
            client.wait_for_event('NETDEV_STREAM_CONNECTED')
            client.execute('device_add', id='net', driver='virtio-net-mmio', addr='0')
            m.sh('while [ $(cat /sys/class/net/eth0/carrier 2>/dev/null || echo 0) = 0 ]; do ip link set eth0 up; sleep 0.1; done')
            if i == 0:
                self.bring_up(m, passt, 1500)
            self.udp(m, passt)
            self.tcp_out(m, passt, 2 * MIB)
            client.execute('device_del', id='net')
            client.wait_for_event('DEVICE_DELETED', device='net')
            client.execute('netdev_del', id='net')
        client.close()
        m.finish()
