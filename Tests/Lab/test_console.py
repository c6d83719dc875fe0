"""virtio-serial under Debian's kernel: a console to log in on, and ports for data."""
import hashlib
import os
import re

from case import LabCase
from vm import HANG


class Line:
    """A client of a character device's unix socket."""

    def __init__(self, m, path):
        self.socket, self.text = m.connect(path), ''
        self.socket.settimeout(HANG)

    def wait_for(self, pattern):
        while not (found := re.search(pattern, self.text)):
            data = self.socket.recv(65536)
            assert data, f'closed before {pattern!r}; it said {self.text!r}'
            self.text += data.decode('utf-8', 'replace')
        self.text = self.text[found.end():]
        return found

    def send(self, text):
        self.socket.sendall(text.encode())

    def exactly(self, size):
        data = b''
        while len(data) < size and (part := self.socket.recv(size - len(data))):
            data += part
        return data

    def wait_for_bytes(self, wanted):
        data = b''
        while not data.endswith(wanted):
            part = self.socket.recv(1 << 18)
            assert part, f'closed after {len(data)} bytes'
            data += part


class Console(LabCase):
    def guest(self):
        return self.stock(options=[
            '-device', 'virtio-serial-device,id=serial0',
            '-chardev', 'socket,id=console0,path={dir}/console.sock,server,nowait', '-device', 'virtconsole,chardev=console0,id=hvc,nr=0',
            '-chardev', 'socket,id=data0,path={dir}/data.sock,server,nowait',
            '-device', 'virtserialport,chardev=data0,id=port1,nr=1,name=lab.data'])

    def test_login_on_hvc0_and_data_both_ways_on_named_port(self):
        m = self.guest()
        console = Line(m, os.path.join(m.dir, 'console.sock'))
        self.logs_in(console)
        self.exchanges(m)

        console.socket.close() # whoever comes second finds the same console
        console = Line(m, os.path.join(m.dir, 'console.sock'))
        console.send('\n')
        console.wait_for(r'\$ ')
        console.send('exit\n')
        console.wait_for('login: ')
        self.logs_in(console)
        m.finish()

    def logs_in(self, console):
        console.send('\n')
        console.wait_for('login: ')
        console.send('lab\n')
        console.wait_for('Password: ')
        console.send('wrong\n')
        console.wait_for('incorrect')
        console.wait_for('login: ')
        console.send('lab\n')
        console.wait_for('Password: ')
        console.send('secret\n')
        console.wait_for(r'\$ ')
        console.send('id -un; tty; echo $((6 * 7))\n')
        console.wait_for(r'\nlab\r\n/dev/hvc0\r\n42\r\n')
        console.wait_for(r'\$ ')

    def exchanges(self, m):
        self.assertEqual(m.sh('cat /sys/class/virtio-ports/*/name'), 'lab.data')
        port = '/dev/' + m.sh('basename $(dirname /sys/class/virtio-ports/*/name)')
        data = os.urandom(300000)
        line = Line(m, os.path.join(m.dir, 'data.sock'))
        m.send(f'head -c {len(data)} {port} >/tmp/data; echo got""it\n')
        line.socket.sendall(data)
        m.wait_for('gotit')
        self.assertEqual(m.sh('md5sum </tmp/data').split()[0], hashlib.md5(data).hexdigest())
        m.send(f'cat /tmp/data >{port}; echo sent""it\n')
        self.assertTrue(line.exactly(len(data)) == data)
        m.wait_for('sentit')
        line.socket.close()
        m.send(f'echo late >{port}; echo writ""ten\n') # waits, or is lost, until somebody listens again
        line = Line(m, os.path.join(m.dir, 'data.sock'))
        m.wait_for('written')
        m.send(f'cat /tmp/data >{port}; echo sent""it\n')
        line.wait_for_bytes(data)
        m.wait_for('sentit')
