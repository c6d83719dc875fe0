"""Devices that are served on threads of their own."""
import os

import vm
from case import LabCase
from host import Peer, ping, receiving, sending
from vm import Drive


class IOThread(LabCase):
    def test_disk_and_nic_on_iothreads_work_at_the_same_time(self):
        if vm.QEMU:
            self.skipTest('QEMU serves no NIC on an iothread')
        tap, disk = self.tap(), Drive(self.blank(64))
        m = self.stock(cpus=2, drives=[Drive(self.rootfs())], options=[
            '-object', 'iothread,id=io0', '-object', 'iothread,id=io1', '-object', 'iothread,id=io2',
            '-drive', f'file={disk.path},id=data,direct=off', '-device', 'virtio-blk-device,drive=data,id=data,iothread=io0',
            '-netdev', f'tap,id=net0,ifname={tap.name}',
            '-device', f'virtio-net-device,netdev=net0,id=net0,mac={tap.mac},rx-iothread=io1,tx-iothread=io2'])
        with m.client() as client:
            self.assertEqual({t['id'] for t in client.cmd('query-iothreads')}, {'io0', 'io1', 'io2'})
        m.sh(f'ip addr add {tap.guest}/24 dev eth0; ip link set eth0 up; {ping(tap.host, 1)}')
        data = os.urandom(1 << 20) * 16
        peers = Peer(sending(data), (tap.host, 0)), Peer(receiving, (tap.host, 0))
        m.sh(f'peer {tap.host} {peers[0].port} </dev/null >/dev/vdb')
        m.sh('echo 3 >/proc/sys/vm/drop_caches')
        m.sh('(while dd if=/dev/urandom of=/dev/vdb bs=1M seek=32 count=8 conv=fsync 2>/dev/null; do :; done) & echo $! >/tmp/writer')
        m.sh(f'head -c {len(data)} /dev/vdb | peer {tap.host} {peers[1].port}')
        peers[0].done()
        self.assertTrue(peers[1].done() == data)
        with m.client() as client: # threads that are at work also stop and go on
            for _ in range(5):
                client.cmd('stop')
                client.cmd('cont')
        m.sh('kill $(cat /tmp/writer); wait')
        m.finish()
