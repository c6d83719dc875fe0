"""vhost-vsock under Debian's kernel."""
import os
import socket
import time

from case import LabCase
from host import Peer, receiving, sending
from vm import HANG

CID = 77


class Vsock(LabCase):
    def test_streams_in_both_directions_to_host_and_to_guest(self):
        m = self.stock(options=['-device', f'vhost-vsock-device,id=vsock0,guest-cid={CID}'])
        data = os.urandom(1 << 20) * 4

        peer = Peer(sending(data), (socket.VMADDR_CID_ANY, 1024), socket.AF_VSOCK) # the guest connects to the host
        m.sh('peer 2 1024 </dev/null >/tmp/data')
        peer.done()
        peer = Peer(receiving, (socket.VMADDR_CID_ANY, 1025), socket.AF_VSOCK)
        m.sh('peer 2 1025 </tmp/data')
        self.assertTrue(peer.done() == data)

        m.send('peer listen 1026 </tmp/data >/tmp/back; echo con""nected $?.\n') # the host connects to the guest
        with self.connected(1026) as s:
            self.assertTrue(receiving(s) == data)
            s.sendall(b'the host was here')
        m.wait_for(r'connected 0\.')
        self.assertEqual(m.sh('cat /tmp/back'), 'the host was here')
        m.finish()

    def connected(self, port):
        deadline = time.monotonic() + HANG
        while True:
            s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            s.settimeout(HANG)
            try:
                s.connect((CID, port))
                return s
            except OSError: # the guest does not listen yet
                s.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
