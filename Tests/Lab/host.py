"""The host's side of a guest's devices: taps, passt, TCP and vsock peers, virtiofsd."""
import fcntl
import os
import socket
import struct
import subprocess
import threading
import time

from vm import HANG

VIRTIOFSD = '/usr/lib/qemu/virtiofsd'

TUNSETIFF = 0x400454ca
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x2, 0x1000, 0x4000, 0x100


def ip(*words):
    subprocess.run(['ip', *words], check=True)


class Tap:
    """A tap interface with the first address of its own /24; the guest's is the second."""

    number = 0

    def __init__(self, queues=1):
        Tap.number += 1
        self.queues, self.name, net = queues, f'tap{Tap.number}', f'10.77.{Tap.number}'
        self.host, self.guest, self.mac = f'{net}.1', f'{net}.2', f'52:54:00:77:00:{Tap.number:02x}'
        ip('tuntap', 'add', 'dev', self.name, 'mode', 'tap', 'vnet_hdr', *(['multi_queue'] if queues > 1 else []))
        ip('addr', 'add', f'{self.host}/24', 'dev', self.name)
        ip('link', 'set', self.name, 'up')

    def open_queues(self):
        """One descriptor for each queue, as whoever starts a machine hands them down."""
        flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if self.queues > 1 else 0)
        return [opened('/dev/net/tun', lambda fd: fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH22x', self.name.encode(), flags)))
                for _ in range(self.queues)]

    def close(self):
        subprocess.run(['ip', 'link', 'del', self.name], check=False)


NOBODY = 65534


def as_nobody():
    """What to put before a command so that an ordinary user runs it, who has no capability."""
    return ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all', '--no-new-privs']


def listens(path):
    """Whether the kernel's list has the socket as one that listens (__SO_ACCEPTCON)."""
    with open('/proc/net/unix', encoding='utf-8') as sockets:
        return any(line.split()[3] == '00010000' and line.split()[-1] == path for line in sockets)


class Passt:
    """Debian's passt, run by an ordinary user, on a socket in directory. The guest reaches this machine's loopback as gateway; what comes to port goes to the guest.

    This passt (2023-03-09) throws away what its socket to the monitor has no room for (tap_send_frames), and never sends a FIN again that was lost: the guest has all data,
    and 16 seconds later a reset (tcp_data_from_sock, tcp_timer_handler: 8 timeouts of 2 s). With Linux's default of 208 KiB that happens with any monitor whose guest is slow,
    QEMU too. Where the limit is 2 MiB or more passt asks for all it can get, so it can get more than a guest's window.
    """

    guest, gateway = '10.78.0.2', '10.78.0.254'
    LIMIT = '/proc/sys/net/core/wmem_max'

    def __init__(self, directory, port):
        self.path, self.port, self.process = os.path.join(directory, 'passt.sock'), port, None
        with open(self.LIMIT, encoding='ascii') as limit:
            self.limit_before = limit.read()
        self.set_limit(str(max(32 << 20, int(self.limit_before))))
        os.chown(directory, NOBODY, NOBODY)
        # passt wants a host with a default route to make the guest's network of.
        ip('tuntap', 'add', 'dev', 'uplink', 'mode', 'tap')
        ip('addr', 'add', '10.78.0.1/24', 'dev', 'uplink')
        ip('link', 'set', 'uplink', 'up')
        ip('route', 'add', 'default', 'via', self.gateway)
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [*as_nobody(), 'passt', '-f', '-e', '-q', '-4', '-D', 'none', '-s', self.path, '-a', self.guest, '-n', '24', '-g', self.gateway,
             '-t', str(self.port), '-u', str(self.port)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + HANG
        while True:
            if listens(self.path): # without a connection: passt has one client
                return
            assert self.process.poll() is None and time.monotonic() < deadline, f'passt: {self.process.stdout.read()}'
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def set_limit(self, limit):
        with open(self.LIMIT, 'w', encoding='ascii') as file:
            file.write(limit)

    def close(self):
        self.kill()
        self.set_limit(self.limit_before)
        subprocess.run(['ip', 'link', 'del', 'uplink'], check=False)


def ping(host, count):
    """A guest's command. Linux drops what it would send on an interface whose carrier it has only just noticed, so the first answers do not count."""
    return f'until ping -c 1 -W 1 {host} >/dev/null; do :; done; ping -c {count} {host}'


def opened(path, prepare=lambda fd: None):
    """A descriptor of path above those that a child program gets."""
    low = os.open(path, os.O_RDWR)
    high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(low)
    prepare(high)
    return high


class Peer:
    """Listens on address and, on a thread, gives the first connection to serve(connection)."""

    def __init__(self, serve, address, family=socket.AF_INET):
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.settimeout(HANG)
        self.listener.bind(address)
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        self.result = self.error = None
        self.thread = threading.Thread(target=self.run, args=(serve,), daemon=True)
        self.thread.start()

    def run(self, serve):
        try:
            connection, _ = self.listener.accept()
            connection.settimeout(HANG)
            with connection:
                self.result = serve(connection)
        except OSError as error:
            self.error = error
        finally:
            self.listener.close()

    def done(self):
        self.thread.join(4 * HANG)
        assert not self.thread.is_alive(), 'the peer still waits'
        assert self.error is None, f'peer: {self.error}'
        return self.result


def sending(data):
    def serve(connection):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    return serve


def receiving(connection):
    parts = []
    while part := connection.recv(1 << 18):
        parts.append(part)
    return b''.join(parts)


class Flood(threading.Thread):
    """UDP datagrams to address as fast as they go, until stop()."""

    def __init__(self, address, size=1400):
        super().__init__(daemon=True)
        self.address, self.data, self.stopping, self.sent = (address, 9), bytes(size), False, 0
        self.start()

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            while not self.stopping:
                try:
                    s.sendto(self.data, self.address)
                    self.sent += 1
                except OSError: # the queue of the tap is full, or there is no neighbour
                    time.sleep(0.01)

    def stop(self):
        self.stopping = True
        self.join()
        return self.sent


class Virtiofsd:
    """Debian's virtiofsd on socket path, sharing directory; ends with its client."""

    def __init__(self, path, directory):
        self.process = subprocess.Popen([VIRTIOFSD, f'--socket-path={path}', '-o', f'source={directory}', '-o', 'cache=none'],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + HANG
        while not os.path.exists(path):
            assert self.process.poll() is None and time.monotonic() < deadline, f'virtiofsd: {self.process.stdout.read()}'
            time.sleep(0.05)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class StorageDaemon:
    """Debian's qemu-storage-daemon: serves image as a vhost-user-blk disk on socket path; kill() and start() as often as wished."""

    def __init__(self, path, image, queues=1):
        self.path, self.image, self.queues, self.process = path, image, queues, None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ['qemu-storage-daemon', '--blockdev', f'driver=file,node-name=disk,filename={self.image}', '--export',
             f'type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path={self.path},writable=on,num-queues={self.queues}',
             '--chardev', f'socket,id=qmp,path={self.path}.qmp,server=on,wait=off', '--monitor', 'chardev=qmp'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + HANG
        while not os.path.exists(self.path + '.qmp'): # made last
            assert self.process.poll() is None and time.monotonic() < deadline, f'qemu-storage-daemon: {self.process.stdout.read()}'
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.communicate()
        os.remove(self.path + '.qmp')

    def close(self):
        if self.process.poll() is None:
            self.kill()


class Switch:
    """DPDK's testpmd on socket path, a vhost-user network that answers ARP and ping of any address; kill() and start() as often as wished.

    It polls without a pause, so it gets the time that nobody else wants.
    """

    def __init__(self, path):
        self.path, self.process = path, None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ['chrt', '-i', '0', 'dpdk-testpmd', '--no-huge', '--no-shconf', '--no-telemetry', '--no-pci', '-m', '128', '--lcores', '0@0,1@0',
             '--vdev', f'net_vhost0,iface={self.path},queues=1', '--', '--forward-mode=icmpecho', '--auto-start', '--total-num-mbufs=2048'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) # it ends with its standard input
        deadline = time.monotonic() + HANG
        while not listens(self.path):
            assert self.process.poll() is None and time.monotonic() < deadline, f'testpmd: {self.process.stdout.read()}'
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.communicate()
        os.remove(self.path)

    def close(self):
        if self.process.poll() is None:
            self.kill()
