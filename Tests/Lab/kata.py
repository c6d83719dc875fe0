"""Kata Containers' side of a machine: the command line, the log pipe, the QMP client and the agent's connection, as its runtime
does them."""
import json
import os
import re
import socket
import subprocess
import threading
import time

import vm
from vm import HANG, inheriting

AGENT_PORT = 1024


class QMP:
    """Requests without id, a line each; everything is skipped until a return or an error, events are kept."""

    def __init__(self, m):
        deadline = time.monotonic() + HANG
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(HANG)
            try:
                self.socket.connect(m.qmp_path)
                break
            except OSError:
                self.socket.close()
                assert m.process.poll() is None and time.monotonic() < deadline, f'no QMP socket; {m.said()}'
                time.sleep(0.05)
        self.lines, self.events = self.socket.makefile('rb'), []
        greeting = self.read()['QMP']
        version = greeting['version']['qemu']
        self.version = version['major'], version['minor'], version['micro']
        assert isinstance(greeting['capabilities'], list)
        self.execute('qmp_capabilities')

    def read(self):
        line = self.lines.readline()
        if not line:
            raise EOFError
        message = json.loads(line)
        if 'event' in message:
            self.events.append(message)
        return message

    def execute(self, command, **arguments):
        request = {'execute': command}
        if arguments:
            request['arguments'] = {k.replace('_', '-'): v for k, v in arguments.items()}
        self.socket.sendall(json.dumps(request).encode() + b'\n')
        while True:
            message = self.read()
            if 'error' in message:
                raise AssertionError(f'{request}: {message["error"]}')
            if 'return' in message:
                return message['return']

    def wait_for_event(self, name, **data):
        while True:
            for event in self.events:
                if event['event'] == name and data.items() <= event.get('data', {}).items():
                    self.events.remove(event)
                    return event
            self.read()

    def close(self):
        self.lines.close()
        self.socket.close()


class Sandbox(vm.VM):
    """A machine as Kata starts it. net: words after `tap,id=eth0,`; share: (tag, socket of virtiofsd)."""

    def __init__(self, identity, cid, vsock_fd, net, mac, share=None, debug=False, inherit=()):
        self.identity, self.cid, self.vsock_fd, self.net, self.mac = identity, cid, vsock_fd, net, mac
        self.shared, self.debug = share, debug
        words = 'root=/dev/vda rootfstype=ext4 reboot=k panic=1 net.ifnames=0 random.trust_cpu=on pci=off iommu=off acpi=off'
        words += ' debug console=hvc0' if debug else ' quiet 8250.nr_uarts=0 agent.log_vport=1025'
        super().__init__(append=f'{words} agent={AGENT_PORT}', inherit=inherit, share=share is not None)

    def arguments(self):
        words = [vm.BINARY, '-name', f'sandbox-{self.identity}', '-uuid', '5f0e3c1e-6a1e-4b0a-9d5c-2f6f2a7a1c11', '-smp', '1', '-m', self.memory,
                 '-kernel', self.kernel, '-append', self.append, '-qmp', f'unix:{self.qmp_path},server,nowait', '-D', '-disable-seccomp',
                 '-machine', 'type=microvm,dump-guest-core=off' + (',mem-share=on' if self.shared else ''),
                 '-device', 'virtio-rng-device,rng=objrng0,id=virtio-rng0', '-object', 'rng-random,id=objrng0,filename=/dev/urandom']
        if self.initrd: # Kata's own kernel needs none
            words += ['-initrd', self.initrd]
        if self.debug:
            words += ['-device', 'virtio-serial-device,id=virtio-serial0',
                      '-chardev', f'socket,id=charconsole0,path={self.dir}/console.socket,server,nowait',
                      '-device', 'virtconsole,chardev=charconsole0,id=virtio-console0,nr=0']
        words += ['-drive', f'id=rootfs,file={self.drives[0].path},readonly=on,direct=off', '-device', 'virtio-blk-device,drive=rootfs,id=virtio-blk0',
                  '-device', f'vhost-vsock-device,id=vsock-id,guest-cid={self.cid},vhostfd={self.vsock_fd}',
                  '-netdev', f'tap,id=eth0,{self.net}', '-device', f'virtio-net-device,netdev=eth0,id=eth0,mac={self.mac}']
        if self.shared:
            words += ['-chardev', f'socket,id=virtio_fs,path={self.shared[1]},server,nowait',
                      '-device', f'vhost-user-fs-device,chardev=virtio_fs,tag={self.shared[0]},id=virtio-fs0']
        if vm.QEMU:
            words = [w for w in self.for_qemu(words) if w not in ('-D', '-disable-seccomp')]
        return words

    def spawn(self):
        environment = {'STRATOVIRT_LOG_LEVEL': 'info'} if self.debug else {}
        self.process = subprocess.Popen(inheriting(self.inherit) + self.arguments(), pass_fds=self.inherit, env=environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.infos, self.warnings, self.errors = [], [], []
        self.log = threading.Thread(target=self.read_log, daemon=True)
        self.log.start()
        if self.debug:
            self.socket = self.connect(os.path.join(self.dir, 'console.socket'))
            self.console_fd = self.socket.fileno()
            self.reader = threading.Thread(target=self.read_console, daemon=True)
            self.reader.start()

    def read_log(self):
        for line in self.process.stdout:
            text = line.decode('utf-8', 'replace').rstrip('\n')
            (self.infos if ':INFO: ' in text else self.warnings if ':WARN: ' in text else self.errors).append(text)

    def said(self):
        return f'log: {self.infos + self.warnings + self.errors}'

    def agent(self):
        """A connection to the guest's agent, which comes up when it comes up."""
        deadline = time.monotonic() + HANG
        while True:
            s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            s.settimeout(HANG)
            try:
                s.connect((self.cid, AGENT_PORT))
            except OSError:
                s.close()
                assert self.process.poll() is None, f'ended with {self.process.returncode}; {self.said()}'
                assert time.monotonic() < deadline, f'no agent; {self.said()}'
                time.sleep(0.1)
                continue
            self.measure()
            return Agent(s, self)


class Agent:
    def __init__(self, connection, machine):
        self.socket, self.machine, self.text = connection, machine, ''

    def sh(self, command):
        self.machine.measure()
        self.socket.sendall(f'{command}; echo ">"">$?."\n'.encode())
        while not (end := re.search(r'>>(\d+)\.\n', self.text)):
            part = self.socket.recv(65536)
            assert part, f'the agent hung up: {self.text!r}'
            self.text += part.decode('utf-8', 'replace')
        output, self.text = self.text[:end.start()], self.text[end.end():]
        assert end.group(1) == '0', f'{command!r} failed in the guest: {output}'
        return output.strip()

    def close(self):
        self.socket.close()
