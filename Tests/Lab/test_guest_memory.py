"""Where a guest's memory comes from: nodes, huge pages, files, all of it at the start."""
import os
import re
import subprocess

import vm
from case import LabCase
from host import Virtiofsd


class GuestMemory(LabCase):
    def setUp(self):
        super().setUp()
        if vm.QEMU:
            self.skipTest('other options there')

    def mount(self, kind, *options):
        path = os.path.join(self.dir, kind)
        os.mkdir(path)
        subprocess.run(['mount', '-t', kind, *options, kind, path], check=True)
        self.addCleanup(subprocess.run, ['umount', '-l', path], check=True)
        return path

    def refused(self, sentence, **configuration):
        m = self.vm(**{'memory': '128', **configuration})
        self.assertEqual(m.wait(), 1)
        m.most_kib = 0 # of a start: the promise is about machines that run
        self.assertIn(f'stratovirt: {sentence}\n', m.said() + '\n')

    def test_guest_has_the_nodes_of_the_command_line_and_shares_them(self):
        """Nodes with memory on different nodes of the host; virtiofsd gets at both."""
        path = os.path.join(self.dir, 'fs.sock')
        daemon = Virtiofsd(path, self.dir)
        self.addCleanup(daemon.close)
        with open(os.path.join(self.dir, 'file'), 'wb') as file:
            file.write(data := os.urandom(1 << 20))
        m = self.stock(cpus=3, options=[
            '-object', 'memory-backend-memfd,id=m0,size=192M,policy=bind,host-nodes=0', '-object', 'memory-backend-memfd,id=m1,size=320M,policy=bind,host-nodes=1',
            '-numa', 'node,nodeid=0,cpus=0,memdev=m0', '-numa', 'node,nodeid=1,cpus=1,memdev=m1',
            '-numa', 'dist,src=0,dst=1,val=31', '-numa', 'dist,src=1,dst=0,val=32',
            '-chardev', f'socket,id=fs0,path={path}', '-device', 'vhost-user-fs-device,chardev=fs0,tag=share'])
        self.assertEqual(m.sh('cd /sys/devices/system/node; cat online node0/cpulist node1/cpulist node0/distance node1/distance; cd /').splitlines(),
                         ['0-1', '0,2', '1', '10 31', '32 10'])
        totals = [int(kib) >> 10 for kib in re.findall(r'MemTotal: *(\d+) kB', m.sh('cat /sys/devices/system/node/node[01]/meminfo'))]
        # The kernel keeps some of each for itself.
        self.assertTrue(120 <= totals[0] <= 192 and 260 <= totals[1] <= 320, totals)
        m.sh('mount -t virtiofs share /mnt')
        self.assertEqual(m.sh('cat /mnt/file | md5sum'), subprocess.run(['md5sum'], input=data, capture_output=True, check=True).stdout.decode().strip())
        # Pages of the second node are on the host's second node.
        m.sh('mkdir -p /t; mount -t tmpfs -o mpol=bind:1,size=100M t /t; dd if=/dev/zero of=/t/f bs=1M count=64 2>/dev/null')
        with open(f'/proc/{m.process.pid}/numa_maps', encoding='utf-8') as maps:
            nodes = {found.group(1): line for line in maps if (found := re.search(r' bind:(\d)', line))}
        self.assertEqual(sorted(nodes), ['0', '1'])
        self.assertGreater(int(re.search(r' N1=(\d+)', nodes['1']).group(1)), 64 << 8)
        self.assertFalse(' N0=' in nodes['1'] or ' N1=' in nodes['0'], nodes)
        m.sh('umount /t /mnt')
        m.finish()

    def test_guest_runs_on_huge_pages_and_too_few_of_them_are_an_error(self):
        def free():
            with open('/proc/meminfo', encoding='utf-8') as info:
                return int(re.search(r'HugePages_Free: *(\d+)', info.read()).group(1))

        def reserve(count):
            with open('/proc/sys/vm/nr_hugepages', 'w', encoding='utf-8') as file:
                file.write(str(count))

        self.addCleanup(reserve, 0)
        reserve(70)
        self.assertEqual(free(), 70)
        path = self.mount('hugetlbfs')
        m = self.vm(memory='128', options=['-mem-path', path]).ready()
        self.assertTrue(0 < free() < 70)
        m.finish()
        self.assertEqual(free(), 70)
        m = self.vm(memory='128', options=['-mem-path', path, '-mem-prealloc']).ready()
        self.assertEqual(free(), 6)
        self.refused(f"-mem-path: there are too few free huge pages of 2048 KiB for '{path}'", options=['-mem-path', path])
        m.finish()
        self.refused(f"-mem-path: the size must be a multiple of 2048 KiB, the page size of '{path}'", memory='129', options=['-mem-path', path])
        m = self.vm(memory='128', options=['-object', 'memory-backend-memfd,id=m,size=128M,hugetlb=on,hugetlbsize=2M,prealloc=on', '-numa', 'node,nodeid=0,memdev=m']).ready()
        self.assertEqual(free(), 6)
        m.finish()
        self.assertEqual((free(), os.listdir(path)), (70, []))

    def test_memory_in_a_file_is_taken_at_the_start_and_a_full_file_system_is_an_error(self):
        path = self.mount('tmpfs', '-o', 'size=160M')
        m = self.vm(memory='128', share=True, options=['-mem-path', f'{path}/ram', '-mem-prealloc']).ready()
        with open(f'/proc/{m.process.pid}/status', encoding='utf-8') as status:
            self.assertGreaterEqual(int(re.search(r'VmRSS:\s*(\d+)', status.read()).group(1)), 128 << 10)
        self.assertEqual(os.stat(f'{path}/ram').st_blocks >> 11, 128)
        m.sh('mount -t tmpfs t /mnt; echo "what the guest" "remembers" >/mnt/x')
        with open(f'{path}/ram', 'rb') as file:
            self.assertIn(b'what the guest remembers\n', file.read())
        self.refused('-mem-prealloc: cannot take 128 MiB from the host: too few free huge pages, or no space left in the file system',
                     options=['-mem-path', path, '-mem-prealloc'])
        m.finish()
        self.assertEqual(os.listdir(path), ['ram'])
