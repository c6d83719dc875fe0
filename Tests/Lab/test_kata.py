"""What Kata Containers' StratoVirt driver does with a machine, from start to end."""
import os
import signal

import vm
from case import LabCase
from host import Virtiofsd, opened, ping
from kata import QMP, Sandbox
from test_disk import MountedExt4


class Kata(LabCase):
    def sandbox(self, *words, **more):
        machine = Sandbox(*words, **more)
        self.machines.append(machine)
        self.addCleanup(machine.close)
        for descriptor in machine.inherit:
            os.close(descriptor)
        return machine

    def virtiofsd(self):
        shared, path = os.path.join(self.dir, 'shared'), os.path.join(self.dir, 'virtiofs_kata.socket')
        os.mkdir(shared)
        daemon = Virtiofsd(path, shared)
        self.addCleanup(daemon.close)
        return shared, path

    def checked_then_left(self, m):
        """The runtime's first connection only asks whether the machine is there."""
        client = QMP(m)
        self.assertEqual(len(client.version), 3)
        client.close()

    def network(self, agent, tap):
        name = agent.sh(f'cd /sys/class/net; grep -l {tap.mac} */address').split('/')[0]
        agent.sh(f'ip addr add {tap.guest}/24 dev {name}; ip link set {name} up')
        self.assertIn('3 packets received', agent.sh(ping(tap.host, 3)))

    def test_sandbox_with_inherited_descriptors_three_hot_plugged_disks_and_sigkill(self):
        tap = self.tap()
        shared, path = self.virtiofsd()
        m = self.sandbox('one', 41, 4, 'fds=3', tap.mac, share=('kataShared', path), inherit=[*tap.open_queues(), opened('/dev/vhost-vsock')])
        self.checked_then_left(m)
        agent = m.agent()
        self.network(agent, tap)
        self.assertIn('virtio_rng.', agent.sh('cat /sys/class/misc/hw_random/rng_current'))
        agent.sh('mount -t virtiofs kataShared /mnt && echo from the guest >/mnt/file')
        with open(os.path.join(shared, 'file'), encoding='utf-8') as file:
            self.assertEqual(file.read(), 'from the guest\n')
        if not vm.QEMU:
            self.plugs_three_disks(m, agent)
        agent.close()
        self.checked_then_left(m)
        self.assertEqual(m.agent().sh('echo alive'), 'alive')
        m.process.send_signal(signal.SIGKILL)
        self.assertEqual(m.wait(), -signal.SIGKILL)
        m.log.join()
        self.assertEqual((m.warnings, m.errors), ([], []))

    def plugs_three_disks(self, m, agent):
        client = QMP(m)
        with MountedExt4(self.blank(64), self.dir) as directory: # Kata's disks are opened for direct I/O, which tmpfs refuses
            images = [os.path.join(directory, f'{i}.img') for i in range(3)]
            for i, image in enumerate(images, 1):
                with open(image, 'wb') as file:
                    file.write(f'disk {i}'.encode().ljust(512))
                    file.truncate(i << 20)
                client.execute('blockdev-add', driver='raw', node_name=f'drive-{i}', read_only=False,
                               file={'driver': 'file', 'filename': image, 'aio': 'native'})
                more = {'share_rw': 'on', 'num_queues': '1'} if i == 3 else {}
                client.execute('device_add', id=f'virtio-drive-{i}', driver='virtio-blk-mmio', drive=f'drive-{i}', addr=str(i), **more)
                disk = f'vd{"abcd"[i]}'
                self.assertEqual(agent.sh(f'while [ $(cat /sys/block/{disk}/size) = 0 ]; do sleep 0.1; done; cat /sys/block/{disk}/size'), str(i * 2048))
                self.assertEqual(agent.sh(f'head -c 6 /dev/{disk}; echo written by the guest | dd of=/dev/{disk} bs=512 seek=1 conv=sync,fsync 2>/dev/null'),
                                 f'disk {i}')
            for i, image in enumerate(images, 1):
                client.execute('device_del', id=f'virtio-drive-{i}')
                client.wait_for_event('DEVICE_DELETED', device=f'virtio-drive-{i}')
                client.execute('blockdev-del', node_name=f'drive-{i}')
                agent.sh(f'while [ $(cat /sys/block/vd{"abcd"[i]}/size) != 0 ]; do sleep 0.1; done')
                with open(image, 'rb') as file:
                    self.assertEqual(file.read(530)[512:], b'written by the gue')
        client.close()

    def test_debug_sandbox_logs_to_its_pipe_and_ends_with_its_guest(self):
        tap = self.tap()
        m = self.sandbox('two', 42, 3, f'ifname={tap.name}', tap.mac, debug=True, inherit=[opened('/dev/vhost-vsock')])
        self.checked_then_left(m)
        agent = m.agent()
        self.network(agent, tap)
        self.assertIn('hvc0', agent.sh('cat /sys/class/tty/console/active'))
        client = QMP(m)
        self.assertEqual(client.execute('query-status')['status'], 'running')
        if vm.QEMU: # would start again; it logs nothing either
            return
        agent.socket.sendall(b'reboot -f\n')
        client.wait_for_event('SHUTDOWN', guest=True)
        self.assertEqual(m.wait(), 0)
        client.close()
        m.reader.join()
        m.log.join()
        self.assertIn('guest login: ', m.console)
        self.assertEqual((m.warnings, m.errors), ([], []))
        self.assertTrue(m.infos)
        self.assertFalse(os.path.exists(m.qmp_path))
