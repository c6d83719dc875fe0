"""Memory that comes and goes (virtio-mem) and persistent memory (virtio-pmem) under Debian's kernel."""
import hashlib
import os
import subprocess
import time

import vm
from arch import ARCH
from case import LabCase

MIB = 1 << 20
ONLINE = vm.APPEND.replace('root=/dev/vda', 'memhp_default_state=online_movable')


class Memory(LabCase):
    def wait(self, condition, what):
        for _ in range(vm.HANG * 2):
            if condition():
                return
            time.sleep(0.5)
        self.fail(what)

    def memory(self, client):
        return client.cmd('get-viomem', id='mem0')

    def available(self, m):
        return int(m.sh('awk "/^MemTotal/ {print \\$2}" /proc/meminfo')) // 1024

    def resident(self, m):
        with open(f'/proc/{m.process.pid}/status', encoding='utf-8') as status:
            return next(int(line.split()[1]) for line in status if line.startswith('VmRSS')) // 1024

    def test_a_running_guest_grows_and_shrinks_and_the_host_gets_its_memory_back(self):
        if vm.QEMU:
            self.skipTest('QEMU has it for PCI machines')
        m = self.vm(kernel=vm.STOCK, initrd=vm.STOCK_INITRD, append=ONLINE, memory='256', drives=[], options=[
            '-object', 'memory-backend-ram,id=more,size=1G', '-device', 'virtio-mem-device,id=mem0,memdev=more,requested-size=128M'])
        m.ready()
        with m.client() as client:
            self.assertEqual((self.memory(client)['requested-size'], self.memory(client)['max-size']), (128 * MIB, 1024 * MIB))
            self.wait(lambda: self.memory(client)['size'] == 128 * MIB, 'the first 128 MiB were not plugged')
            first = self.available(m)
            client.cmd('set-viomem', **{'id': 'mem0', 'requested-size': '512M'})
            self.wait(lambda: self.memory(client)['size'] == 512 * MIB, '512 MiB were not plugged')
            self.wait(lambda: self.available(m) >= first + 350, 'the guest does not use what it has')
            before = self.resident(m)
            m.sh('mkdir -p /mnt; mount -t tmpfs -o size=400m none /mnt; dd if=/dev/zero of=/mnt/file bs=1M count=350 2>/dev/null; md5sum /mnt/file')
            full = self.resident(m)
            self.assertGreater(full, before + 250)
            m.sh('umount /mnt')
            client.cmd('set-viomem', **{'id': 'mem0', 'requested-size': 0})
            self.wait(lambda: self.memory(client)['size'] == 0, 'the guest did not give its memory back')
            self.assertLess(self.available(m), first)
            self.assertLess(self.resident(m), full - 200)
            sizes = [e['data']['size'] // MIB for e in client.get_events() if e['event'] == 'MEMORY_DEVICE_SIZE_CHANGE']
            self.wait(lambda: sizes and sizes[-1] == 0 or sizes.extend(
                e['data']['size'] // MIB for e in client.get_events() if e['event'] == 'MEMORY_DEVICE_SIZE_CHANGE'), 'no event told the size')
        m.finish()


class PersistentMemory(LabCase):
    def image(self, mib=64):
        path = os.path.join(self.dir, 'pmem.img')
        with open(path, 'wb') as file:
            file.truncate(mib * MIB)
        subprocess.run(['mke2fs', '-q', '-t', 'ext4', '-b', '4096', path], check=True)
        return path

    def pmem(self, path, extra):
        return self.vm(kernel=vm.STOCK, initrd=vm.STOCK_INITRD, append=vm.APPEND.replace('root=/dev/vda', ''), memory='256', drives=[], guest_files=[path], options=[
            '-object', f'memory-backend-file,id=file,size={os.path.getsize(path) // MIB}M,mem-path={path},{extra}',
            '-device', 'virtio-pmem-device,id=pmem0,memdev=file']).ready()

    def test_file_system_is_written_into_the_file(self):
        if vm.QEMU:
            self.skipTest('QEMU has it for PCI machines')
        path = self.image()
        m = self.pmem(path, 'share=on')
        # Debian's arm64 kernel has no page structures for such memory (CONFIG_ZONE_DEVICE), which DAX wants.
        option = 'dax' if ARCH.name == 'x86_64' else 'rw'
        m.sh(f'mkdir -p /mnt; mount -o {option} /dev/pmem0 /mnt; grep pmem0 /proc/mounts | grep {option}')
        m.sh('dd if=/dev/urandom of=/mnt/data bs=64k count=300 2>/dev/null; for i in $(seq 50); do echo $i >/mnt/$i; done; sync')
        digest = m.sh('md5sum /mnt/data').split()[0]
        m.sh('umount /mnt; sync')
        m.finish()
        vm.fsck(path)
        content = subprocess.run(['debugfs', '-R', 'cat /data', path], capture_output=True, check=True).stdout
        self.assertEqual(hashlib.md5(content).hexdigest(), digest)
        self.assertEqual(vm.file_in(path, '/50'), '50\n')

    def test_read_only_file_can_be_read_and_never_changes(self):
        if vm.QEMU:
            self.skipTest('QEMU has it for PCI machines')
        path = self.image()
        os.chmod(path, 0o444)
        with open(path, 'rb') as file:
            before = hashlib.sha256(file.read()).hexdigest()
        m = self.pmem(path, 'share=on,readonly=on')
        m.sh('mkdir -p /mnt; mount -o ro,noload /dev/pmem0 /mnt; ls /mnt | grep lost+found; umount /mnt')
        # What the guest writes goes nowhere, whatever it believes. A store of two registers, which aarch64 tells no hypervisor what it was to write, ends in an abort
        # there, in the middle of Linux's driver: this guest has itself to blame, and the machine goes on.
        write = 'dd if=/dev/urandom of=/dev/pmem0 bs=4k count=16 conv=fsync 2>/dev/null'
        if ARCH.name == 'aarch64':
            m.send(write + '\n')
            m.wait_for('Internal error: synchronous external abort')
            m.command('quit')
            m.ended_well()
        else:
            m.sh(write + '; echo 3 >/proc/sys/vm/drop_caches; true')
            m.sh('mkdir -p /mnt; mount -o ro,noload /dev/pmem0 /mnt; ls /mnt | grep lost+found; umount /mnt')
            m.finish()
        with open(path, 'rb') as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), before)
