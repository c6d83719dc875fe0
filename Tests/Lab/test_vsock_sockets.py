"""vsock over unix sockets under Debian's kernel."""
import os
import random
import socket
import threading
import time

from case import LabCase, slow
from host import Peer, receiving, sending
from kata import QMP
from vm import HANG

OPTIONS = ['-device', 'virtio-vsock-device,id=vsock0,guest-cid=3,path={dir}/vsock']


def exactly(connection, count):
    """The next count bytes, fewer at the end. A socket with a timeout does not wait for all by itself."""
    data = bytearray()
    while len(data) < count and (part := connection.recv(count - len(data))):
        data += part
    return data


class Program:
    """A program of the host that is connected to a port of the guest."""

    def __init__(self, path, port):
        deadline = time.monotonic() + HANG
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(HANG)
            self.socket.connect(path)
            self.socket.sendall(b'CONNECT %d\n' % port)
            answer = b''
            while not answer.endswith(b'\n') and (byte := self.socket.recv(1)): # what follows the line is the guest's
                answer += byte
            if answer.startswith(b'OK '):
                return
            self.socket.close() # nobody listens yet
            assert time.monotonic() < deadline, 'the guest does not listen'
            time.sleep(0.1)

    def echoed(self, blocks, after=lambda count: None):
        """Sends blocks, says that this was all, and meanwhile reads; true when the same comes back."""
        def send():
            for block in blocks():
                self.socket.sendall(block)
            self.socket.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        same = True
        with self.socket:
            for number, block in enumerate(blocks()):
                after(number)
                same = same and exactly(self.socket, len(block)) == block
            same = same and self.socket.recv(1) == b''
        sender.join(HANG)
        return same


class Echo(threading.Thread):
    """Listens on path, and sends back what comes on each connection once that is all."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.listener, self.served = socket.socket(socket.AF_UNIX), 0
        self.listener.bind(path)
        self.listener.listen(128)
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError: # closed
                return
            with connection:
                connection.sendall(receiving(connection))
                self.served += 1

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class SocketVsock(LabCase):
    def machine(self):
        m = self.stock(options=OPTIONS)
        return m, os.path.join(m.dir, 'vsock')

    def test_streams_half_closed_in_both_directions_and_a_pause(self):
        m, path = self.machine()
        data = random.randbytes(4 << 20)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        peer = Peer(sending(data), path + '_1024', socket.AF_UNIX) # the guest connects to the host
        m.sh('peer 2 1024 </dev/null >/tmp/data')
        peer.done()
        peer = Peer(receiving, path + '_1025', socket.AF_UNIX)
        m.sh('peer 2 1025 </tmp/data')
        self.assertTrue(peer.done() == data)
        self.assertIn('reset', m.sh('peer 2 1023 2>&1 </dev/null || true')) # nobody listens

        m.send('peer listen 1026 </tmp/data >/tmp/back; echo con""nected $?.\n') # the host connects to the guest
        program = Program(path, 1026)
        with program.socket as s:
            self.assertTrue(receiving(s) == data)
            client = QMP(m)
            client.execute('stop')
            s.sendall(b'the host was here')
            s.shutdown(socket.SHUT_WR)
            late = socket.socket(socket.AF_UNIX) # waits until the machine goes on, and finds nobody then
            late.settimeout(HANG)
            late.connect(path)
            late.sendall(b'CONNECT 1\n')
            client.execute('cont')
        m.wait_for(r'connected 0\.')
        self.assertEqual(m.sh('cat /tmp/back'), 'the host was here')
        with late:
            self.assertEqual(late.recv(1), b'')
        m.finish()
        self.assertFalse(os.path.exists(path))

    @slow
    def test_a_thousand_connections_and_256_mib_each_way(self):
        m, path = self.machine()
        m.sh('(peer echo 1026 &)')
        Program(path, 1026).socket.close()

        failed = []
        def connect(numbers): # each half-closed while the guest still sends
            for number in numbers:
                block = random.Random(number).randbytes(1 + number * 7 % 5000)
                if not Program(path, 1026).echoed(lambda block=block: [block]):
                    failed.append(number)
        threads = [threading.Thread(target=connect, args=(range(first, 500, 10),), daemon=True) for first in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(4 * HANG)
        self.assertEqual(failed, [])
        m.measure()

        echo = Echo(path + '_2000')
        m.sh('i=0; while [ $i -lt 50 ]; do for j in 0 1 2 3 4 5 6 7 8 9; do echo $i$j | peer 2 2000 >/tmp/$i.$j & done; wait; i=$((i + 1)); done')
        self.assertEqual(m.sh('cat /tmp/*.* | sort -n | uniq | wc -l'), '500')
        self.assertEqual(echo.served, 500)
        echo.close()

        blocks = [random.randbytes(1 << 20) for _ in range(8)]
        def slowly(number): # a program that does not read for a while: the guest waits
            if number in (20, 50):
                time.sleep(1)
                m.measure()
        self.assertTrue(Program(path, 1026).echoed(lambda: (blocks[n % 8][n:] + blocks[n % 8][:n] for n in range(256)), slowly))
        m.finish()
