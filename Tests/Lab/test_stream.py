"""Network without privileges: passt behind -netdev stream, each run by an ordinary user, under Debian's kernel."""
import os
import socket

import vm
from case import LabCase
from host import NOBODY, Passt, Peer, receiving

MIB = 1 << 20
PORT = 5001


def answering(data):
    """An HTTP server's answer, whatever the question."""
    def serve(connection):
        connection.recv(65536)
        connection.sendall(b'HTTP/1.0 200 OK\r\n\r\n' + data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    return serve


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
        peer = Peer(answering(data), ('127.0.0.1', 0))
        m.sh(f'wget -q -O /tmp/data http://{passt.gateway}:{peer.port}/')
        peer.done()
        peer = Peer(receiving, ('127.0.0.1', 0))
        m.sh(f'peer {passt.gateway} {peer.port} </tmp/data; rm /tmp/data')
        self.assertTrue(peer.done() == data, 'what came back is not what was sent')

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

    def test_ordinary_user_has_udp_both_ways_through_passt(self):
        os.chmod('/dev/kvm', 0o666)
        passt = self.passt()
        m = self.guest(passt, ordinary=True)
        self.assertEqual(os.stat(f'/proc/{m.process.pid}').st_uid, NOBODY)
        self.udp(m, passt)
        m.finish()

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
