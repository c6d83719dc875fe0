"""The process around a machine: in the background, with its files."""
import ctypes
import os
import signal
import subprocess
import time

import vm
from arch import ARCH
from case import LabCase
from vm import APPEND, VM

PR_SET_CHILD_SUBREAPER = 36


class Background(VM):
    """A machine whose starter has ended; its console is a socket."""

    def spawn(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1) # the daemon becomes our child again, and its exit code ours to read
        started = subprocess.run(self.arguments(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.starter = started.returncode, started.stdout
        with open(os.path.join(self.dir, 'pid'), encoding='utf-8') as file:
            self.process = Adopted(int(file.read()), started.args)
        open(self.errors_path, 'wb').close()
        self.attach()


class Adopted:
    """As much of Popen as VM uses."""

    def __init__(self, pid, args):
        self.pid, self.args, self.returncode = pid, args, None

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        step = 0.05
        while self.poll() is None:

            time.sleep(step)
            if timeout is not None and (timeout := timeout - step) <= 0:
                raise subprocess.TimeoutExpired(self.args, 1)
        return self.returncode

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


class Process(LabCase):
    def test_daemon_has_pid_file_and_log_with_the_guests_console(self):
        if vm.QEMU:
            self.skipTest('another log there')
        m = Background(serial='socket', append=APPEND.replace('quiet', '') + ' console=hvc0', options=[
            '-daemonize', '-pidfile', '{dir}/pid', '-D', '{dir}/log', '-device', 'virtio-serial-device,id=serial0',
            '-chardev', 'redirect-to-log,id=log0', '-device', 'virtconsole,chardev=log0,id=hvc'])
        self.machines.append(m)
        self.addCleanup(m.close)
        self.assertEqual(m.starter, (0, b''))
        m.ready()
        self.assertEqual(os.stat(os.path.join(m.dir, 'pid')).st_mode & 0o777, 0o600)
        self.assertEqual(os.getsid(m.process.pid), os.getsid(m.process.pid))
        self.assertNotEqual(os.getsid(m.process.pid), os.getsid(0))
        for descriptor in range(3):
            self.assertEqual(os.readlink(f'/proc/{m.process.pid}/fd/{descriptor}'), '/dev/null')
        m.send('poweroff\n')
        m.ended_well()
        self.assertFalse(os.path.exists(os.path.join(m.dir, 'pid')))
        with open(os.path.join(m.dir, 'log'), encoding='utf-8') as file:
            log = file.read()
        self.assertIn('INFO: log0: ', log)
        # Where the console's driver is a module it comes after init, which keeps the console it was started with.
        self.assertIn('Requesting system poweroff' if ARCH.name == 'x86_64' else 'guest login: ', log)
        for line in log.splitlines():
            self.assertRegex(line, r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}: \[\d+\]\[\d+\]\[[^]]*\]:(ERROR|WARN|INFO|DEBUG|TRACE): ')
