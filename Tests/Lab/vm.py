"""One virtual machine under test: its process, its console, its QMP socket, and what it may leave behind."""
import contextlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import time

from arch import CACHE, ARCH, PROJECT

BINARY = os.environ.get('STRATOVIRT', os.path.join(PROJECT, ARCH.binary))
QEMU = 'qemu' in os.path.basename(BINARY)  # QEMU's machine runs the same cases: a check of the suite itself
RESETS = not (QEMU and ARCH.name == 'x86_64')  # whether a guest can ask for a reset: QEMU's microvm has no i8042

STOCK = os.path.join(ARCH.store, 'stock/vmlinuz')
STOCK_INITRD = os.path.join(ARCH.store, 'stock/initrd')
GUEST = tuple(name and os.path.join(ARCH.store, name) for name in ARCH.guest)
SMALL = os.path.join(ARCH.store, 'small/vmlinux')
SMALL_FLAT = os.path.join(ARCH.store, 'small/vmlinux.bin')
SMALL_BZIMAGE = os.path.join(ARCH.store, 'small/bzImage')
ROOTFS = os.path.join(ARCH.store, 'rootfs.img')

APPEND = ARCH.append
RSS_LIMIT_KIB = 4096
HANG = 150  # seconds in which nothing at all happens; no verdict is closer to the clock than this


class Hung(AssertionError):
    """Nothing happened for HANG seconds."""


class Drive:
    def __init__(self, path, readonly=False, direct=False, extra=''):
        self.path, self.readonly, self.direct, self.extra = path, readonly, direct, extra


def onoff(value):
    return 'on' if value else 'off'


class VM:
    """Starts on construction. Serial: 'stdio' (pipes), 'tty' (stdio on a terminal), 'socket', 'pty', 'file'.

    options: further words of the command line, {dir} in them the machine's own directory; share: guest memory that another process
    can map; inherit: descriptors that the program gets as 3, 4, ...; guest_files: files that are guest memory; ordinary: an ordinary
    user runs it. Without a kernel it has the one that starts soonest.
    """

    def __init__(self, kernel=None, append=APPEND, initrd=None, cpus=1, memory=ARCH.memory, drives=None, serial='stdio', qmp=True,
                 options=(), share=False, inherit=(), guest_files=(), ordinary=False):
        self.dir = tempfile.mkdtemp(prefix='vm-')
        self.kernel, self.initrd = (kernel, initrd) if kernel else GUEST
        self.append, self.cpus, self.memory = append, cpus, memory
        self.drives = [Drive(copy_of_rootfs(self.dir))] if drives is None else drives
        self.qmp_path = os.path.join(self.dir, 'qmp.sock') if qmp else None
        self.options, self.share, self.inherit = [word.replace('{dir}', self.dir) for word in options], share, inherit
        self.guest_files = [os.path.realpath(path) for path in guest_files]
        self.ordinary = ordinary
        self.most_kib, self.mappings = 0, ''
        self.serial, self.serial_path = serial, os.path.join(self.dir, 'serial')
        self.console, self.read_to = '', 0
        self.errors_path = os.path.join(self.dir, 'stderr')
        self.console_fd = self.slave = None
        self.growth = threading.Condition()
        self.spawn()

    # -- the command line ---------------------------------------------------------------------------------------------

    def arguments(self):
        serial = {'stdio': 'stdio', 'tty': 'stdio', 'pty': 'pty', 'file': f'file,path={self.serial_path}',
                  'socket': f'socket,path={self.serial_path},server,nowait'}[self.serial]
        words = [BINARY, '-machine', 'type=microvm' + (',mem-share=on' if self.share else ''), '-kernel', self.kernel, '-smp', str(self.cpus), '-m', self.memory,
                 '-append', self.append]
        if self.initrd:
            words += ['-initrd', self.initrd]
        for i, d in enumerate(self.drives):
            words += ['-drive', f'file={d.path},id=drive{i},readonly={onoff(d.readonly)},direct={onoff(d.direct)}{d.extra}',
                      '-device', f'virtio-blk-device,drive=drive{i}']
        if self.qmp_path:
            words += ['-qmp', f'unix:{self.qmp_path},server,nowait']
        words += ['-serial', serial, *self.options]
        return self.for_qemu(words) if QEMU else words

    def for_qemu(self, words):
        words = [re.sub(r',direct=(on|off)', r',cache.direct=\1,if=none,format=raw', w) for w in words]
        words = [re.sub(r'^(socket,path=)', 'unix:', re.sub(r'^file,path=', 'file:', w)) for w in words]
        words = [re.sub(r',fds=(\d+)$', r',fd=\1', w) for w in words]
        words = [w if re.search(',fds?=', w) else re.sub(r'^tap,', 'tap,script=no,downscript=no,', w) for w in words]
        words = [w.replace(',server,nowait', '' if 'virtiofs' in w else ',server=on,wait=off') for w in words]
        if ARCH.name == 'aarch64': # else its guests find the devices in the reverse order
            buses = iter(range(32))
            words = [f'{w},bus=virtio-mmio-bus.{next(buses)}' if re.match(r'(virtio|vhost)-[a-z-]*device\b', w) else w for w in words]
        machine = words.index('-machine') + 1
        words[machine] = ARCH.qemu.format(acpi=onoff('acpi=off' not in self.append))
        if self.share:
            words[machine] += ',memory-backend=shared'
            words += ['-object', f'memory-backend-memfd,id=shared,size={self.memory}M']
        words += ['-global', 'virtio-mmio.force-legacy=false']
        return words + '-accel kvm -cpu host -nodefaults -no-user-config -display none -no-reboot'.split()

    # -- the process and its console ----------------------------------------------------------------------------------

    def spawn(self):
        stdin = stdout = subprocess.PIPE
        if self.serial == 'tty':
            self.console_fd, self.slave = pty.openpty()
            self.terminal_before = termios.tcgetattr(self.slave)
            stdin = stdout = self.slave
        with open(self.errors_path, 'wb') as errors:
            self.process = subprocess.Popen(inheriting(self.inherit) + self.user() + self.arguments(), pass_fds=self.inherit,
                                            stdin=stdin, stdout=stdout, stderr=errors, start_new_session=True)
        self.attach()

    def user(self):
        """What makes an ordinary user of the program, to whom its files belong."""
        if not self.ordinary:
            return []
        from host import NOBODY, as_nobody
        for path in (self.dir, *(os.path.join(self.dir, name) for name in os.listdir(self.dir))):
            os.chown(path, NOBODY, NOBODY)
        return as_nobody()

    def attach(self):
        """Connects to the console and reads it from here on."""
        if self.serial == 'stdio':
            self.console_fd = self.process.stdout.fileno()
        elif self.serial == 'socket':
            self.socket = self.connect(self.serial_path)
            self.console_fd = self.socket.fileno()
        elif self.serial == 'pty':
            self.console_fd = os.open(self.pty_path(), os.O_RDWR | os.O_NOCTTY)
        if self.console_fd is not None:
            self.reader = threading.Thread(target=self.read_console, daemon=True)
            self.reader.start()

    def connect(self, path):
        deadline = time.monotonic() + HANG
        while time.monotonic() < deadline and self.process.poll() is None:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(path)
                return s
            except OSError:
                s.close()
                time.sleep(0.02)
        raise AssertionError(f'no server on {path}; {self.said()}')

    def pty_path(self):
        """The terminal that -serial pty made is named in what the program prints, on stdout or stderr."""
        text, out = '', self.process.stdout.fileno()
        deadline = time.monotonic() + HANG
        while time.monotonic() < deadline and self.process.poll() is None:
            if select.select([out], [], [], 0.1)[0]:
                text += os.read(out, 4096).decode()
            with open(self.errors_path, encoding='utf-8') as errors:
                found = re.search(r'/dev/pts/\d+', text + errors.read())
            if found:
                return found.group()
        raise AssertionError(f'no pty was named; {self.said()}')

    def read_console(self):
        while True:
            try:
                data = os.read(self.console_fd, 65536)
            except OSError:
                data = b''
            with self.growth:
                if data:
                    self.console += data.decode('utf-8', 'replace')
                self.growth.notify_all()
            if not data:
                return

    def send(self, text):
        self.measure()
        data = text.encode()
        if self.serial == 'stdio':
            self.process.stdin.write(data)
            self.process.stdin.flush()
        elif self.serial == 'socket':
            self.socket.sendall(data)
        else:
            os.write(self.console_fd, data)

    def wait_for(self, pattern):
        """Waits until the console shows pattern after what was waited for last; returns the match."""
        quiet = 0 # counted in waits, not by the clock: the machine that we run on may itself stand still for a while
        with self.growth:
            while True:
                size = len(self.console)
                found = re.compile(pattern, re.M).search(self.console, self.read_to)
                if found:
                    self.read_to = found.end()
                    return found
                grown = self.growth.wait(1)
                if len(self.console) > size:
                    quiet = 0
                    continue
                quiet += 1
                if not self.reader.is_alive() or self.process.poll() is not None and not grown:
                    raise AssertionError(f'ended before it printed {pattern!r}; {self.said()}')
                if quiet > HANG:
                    raise Hung(f'no console output for {HANG} s, waiting for {pattern!r}; {self.said()}')

    def ready(self):
        self.wait_for(r'guest ready: ')
        self.measure()
        return self

    def sh(self, command):
        """Runs a command in the guest's shell; gives its output; it must succeed."""
        self.send(f'echo "<""<"; {command}; echo ">"">$?."\n')
        self.wait_for(r'<<\r*\n')
        start = self.read_to
        end = self.wait_for(r'>>(\d+)\.')
        output = self.console[start:end.start()].replace('\r', '')
        assert end.group(1) == '0', f'{command!r} failed in the guest: {output}'
        return output.strip()

    def wait(self):
        """Waits for the process's end; gives its exit code."""
        quiet, size = 0, -1
        while True:
            self.measure()
            try:
                return self.process.wait(1)
            except subprocess.TimeoutExpired:
                quiet = 0 if len(self.console) != size else quiet + 1
                size = len(self.console)
                if quiet > HANG:
                    raise Hung(f'does not end; {self.said()}') from None

    def finish(self):
        """The shortest way to the end that a guest has on its own: the reset, which is the end of a microVM."""
        if RESETS:
            self.send('reboot -f\n')
        else:
            self.command('quit')
        self.ended_well()

    def ended_well(self):
        """Exit code 0, nothing on stderr that looks like an accident, no socket left, the terminal as it was, the images free of errors."""
        code = self.wait()
        assert code == 0, f'exit code {code}; {self.said()}'
        left = [p for p in (self.qmp_path, self.serial_path if self.serial == 'socket' else None) if p and os.path.exists(p)]
        assert not left or QEMU and left == [self.serial_path], f'left behind: {left}'
        if self.slave is not None:
            now = termios.tcgetattr(self.slave)
            assert now == self.terminal_before, f'terminal was {self.terminal_before}, is {now}'

    # -- control and measures -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def client(self):
        """A connected client of the qemu.qmp package."""
        from qemu.qmp.legacy import QEMUMonitorProtocol
        self.connect(self.qmp_path).close()
        client = QEMUMonitorProtocol(self.qmp_path)
        client.connect()
        client.settimeout(HANG)
        self.measure()
        try:
            yield client
        finally:
            self.measure()
            try:
                client.close()
            except EOFError: # the machine ended first
                pass

    def command(self, name):
        with self.client() as client:
            return client.cmd(name)

    def signal(self, number):
        self.measure()
        os.kill(self.process.pid, number)

    def measure(self):
        """Notes the memory outside the guest's when it is the most so far: done when the guest is ready and before every step, so also
        before the one that ends it. close() holds the most against the limit."""
        if not QEMU and self.process.poll() is None and self.is_program():
            used, mappings = rss_outside_guest_kib(self.process.pid, self.guest_files)
            if used > self.most_kib:
                self.most_kib, self.mappings = used, mappings

    def is_program(self):
        """Whether the process has come as far as to run the program."""
        try:
            return os.path.samefile(f'/proc/{self.process.pid}/exe', BINARY)
        except OSError:
            return False

    def said(self):
        if not os.path.exists(self.errors_path):
            return ''
        with open(self.errors_path, encoding='utf-8', errors='replace') as errors:
            return f'stderr: {errors.read().strip() or "(empty)"}'

    def close(self):
        self.measure()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.slave is not None:
            os.close(self.slave)
        shutil.rmtree(self.dir, ignore_errors=True)
        assert self.most_kib <= RSS_LIMIT_KIB, f'RSS outside guest memory was {self.most_kib} KiB, more than {RSS_LIMIT_KIB}:\n{self.mappings}'


def rss_outside_guest_kib(pid, guest_files=()):
    """Resident memory in mappings smaller than 128 MiB, as `pmap -x` shows them, and the largest of these. Shared mappings of guest_files are left out."""
    total, size, name, found = 0, 0, '', []
    try:
        with open(f'/proc/{pid}/smaps', encoding='utf-8') as smaps:
            for line in smaps:
                words = line.split()
                if '-' in words[0]:
                    name = ' '.join([words[0], words[1], *words[5:]])
                    is_guest = words[1].endswith('s') and ' '.join(words[5:]) in guest_files
                elif words[0] == 'Size:':
                    size = int(words[1])
                elif words[0] == 'Rss:' and size < 128 * 1024 and not is_guest:
                    total += int(words[1])
                    found.append((int(words[1]), f'{words[1]:>6} of {size:>6} KiB  {name}'))
    except ProcessLookupError: # has just ended
        pass
    return total, '\n'.join(text for _, text in sorted(found, reverse=True)[:16])


def inheriting(descriptors):
    """What to put before a command so that it gets these descriptors as 3, 4, ... (no descriptor may be among those numbers)."""
    if not descriptors:
        return []
    assert min(descriptors) >= 3 + len(descriptors)
    return ['/bin/bash', '-c', 'exec "$0" "$@"' + ''.join(f' {n}<&{d} {d}<&-' for n, d in enumerate(descriptors, 3))]


def copy_of_rootfs(directory):
    path = os.path.join(directory, 'rootfs.img')
    subprocess.run(['cp', '--sparse=always', ROOTFS, path], check=True)
    return path


def fsck(image):
    """e2fsck, changing nothing: fails on any error in the file system."""
    done = subprocess.run(['e2fsck', '-fn', image], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'e2fsck says {done.returncode}: {done.stdout}{done.stderr}'


def file_in(image, path):
    """A file's content, read out of an ext4 image by the host."""
    return subprocess.run(['debugfs', '-R', f'cat {path}', image], capture_output=True, text=True, check=True).stdout
