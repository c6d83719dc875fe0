"""A disk that qemu-storage-daemon serves, and a network that DPDK serves, under Debian's kernel."""
import hashlib
import os
import subprocess
import time

from case import LabCase, slow
from host import StorageDaemon, Switch, ping
from vm import fsck

DISK = '/dev/vde' # after the four slots


class VhostUserBlock(LabCase):
    def daemon(self, queues=1):
        self.image = self.blank(256)
        subprocess.run(['mke2fs', '-q', '-t', 'ext4', self.image], check=True)
        daemon = StorageDaemon(os.path.join(self.dir, 'disk.sock'), self.image, queues)
        self.addCleanup(daemon.close)
        return daemon

    def guest(self, daemon, extra='', **configuration):
        return self.stock(share=True, options=['-chardev', f'socket,id=disk0,path={daemon.path}', '-device',
                                               'vhost-user-blk-device,chardev=disk0,id=vub0' + extra], **configuration)

    def check_files(self, sums):
        """The files of the image have these checksums (lines of md5sum), and the file system has no error."""
        fsck(self.image)
        out = os.path.join(self.dir, 'out')
        os.mkdir(out)
        subprocess.run(['debugfs', '-R', f'rdump / {out}', self.image], capture_output=True, check=True)
        for line in sums.splitlines():
            digest, name = line.split()
            with open(os.path.join(out, os.path.basename(name)), 'rb') as file:
                self.assertEqual(hashlib.md5(file.read()).hexdigest(), digest, name)

    def test_disk_is_written_and_read(self):
        daemon = self.daemon(queues=2)
        m = self.guest(daemon, ',num-queues=2,queue-size=128')
        self.assertEqual(m.sh('cat /sys/block/vde/size; ls /sys/block/vde/mq | wc -l'), f'{256 << 11}\n1') # one vCPU has one
        m.sh(f'mount -t ext4 {DISK} /mnt; dd if=/dev/urandom of=/mnt/big bs=1M count=64; for i in $(seq 50); do echo $i >/mnt/small.$i; done; sync')
        m.sh('echo 3 >/proc/sys/vm/drop_caches')
        sums = m.sh('md5sum /mnt/big /mnt/small.*')
        m.sh('umount /mnt')
        m.finish()
        self.check_files(sums)

    @slow
    def test_no_write_is_lost_when_the_daemon_is_killed_under_load(self):
        daemon = self.daemon()
        m = self.guest(daemon)
        m.sh(f'mount -t ext4 {DISK} /mnt')
        # Four that wait for each of their files, and one that keeps the queue full.
        writer = 'n=0; while [ ! -e /stop ]; do n=$((n+1)); dd if=/dev/urandom of=/mnt/$w.$n bs=16k count=1 conv=fsync 2>/dev/null && ' \
                 'md5sum /mnt/$w.$n >>/sums.$w || touch /failed; done'
        m.sh(f'for w in 1 2 3 4; do ({writer}) & done; true')
        m.sh('(while [ ! -e /stop ]; do dd if=/dev/zero of=/mnt/ballast bs=1M count=40 conv=fsync 2>/dev/null || touch /failed; done) & true')
        for _ in range(4):
            time.sleep(1)
            daemon.kill()
            time.sleep(0.3)
            daemon.start()
            before = int(m.sh('cat /sums.* | wc -l'))
            while int(m.sh('cat /sums.* | wc -l')) < before + 8: # it goes on, and with more than what waited
                time.sleep(0.1)
        m.sh('touch /stop; wait; [ ! -e /failed ]; rm /mnt/ballast; sync; echo 3 >/proc/sys/vm/drop_caches')
        self.assertEqual(m.sh('md5sum -c /sums.* 2>/dev/null | grep -vc OK || true'), '0')
        self.assertEqual(m.sh('dmesg | grep -c "I/O error" || true'), '0')
        sums = m.sh('cat /sums.*')
        m.sh('umount /mnt')
        m.finish()
        self.check_files(sums)

    def test_daemon_that_is_away_holds_nothing_up(self):
        daemon = self.daemon()
        m = self.guest(daemon)
        daemon.kill()
        m.send(f'dd if={DISK} of=/dev/null bs=4096 count=1 iflag=direct; echo "dd ended"\n')
        with m.client() as client:
            for _ in range(20):
                client.cmd('query-status')
        time.sleep(1)
        self.assertNotIn('\ndd ended', m.console.replace('\r', ''))
        daemon.start()
        m.wait_for('^dd ended')
        # At the end nobody is there.
        daemon.kill()
        m.finish()


class VhostUserNetwork(LabCase):
    def carrier(self, m, expected):
        """Waits until the guest's link is so."""
        m.sh(f'until [ "$(cat /sys/class/net/{self.name}/carrier)" = {expected} ]; do sleep 0.1; done')

    def test_link_follows_the_switch_that_is_killed_and_comes_back(self):
        switch = Switch(os.path.join(self.dir, 'switch.sock'))
        self.addCleanup(switch.close)
        mac = '52:54:00:79:00:02'
        m = self.stock(share=True, options=['-chardev', f'socket,id=c,path={switch.path}', '-netdev', 'vhost-user,id=n,chardev=c',
                                            '-device', f'virtio-net-device,netdev=n,id=net,mac={mac}'])
        self.name = m.sh(f'cd /sys/class/net; grep -l {mac} */address').split('/')[0]
        m.sh(f'ip addr add 10.79.0.2/24 dev {self.name}; ip link set {self.name} up')
        self.carrier(m, 1)
        self.assertIn('3 packets received', m.sh(ping('10.79.0.1', 3)))
        for _ in range(2):
            switch.kill()
            self.carrier(m, 0)
            switch.start()
            self.carrier(m, 1)
            self.assertIn('3 packets received', m.sh(ping('10.79.0.1', 3)))
        with m.client() as client:
            client.cmd('netlink_set', id='n', up=False)
            self.carrier(m, 0)
            client.cmd('netlink_set', id='n', up=True)
            self.carrier(m, 1)
        self.assertIn('3 packets received', m.sh(ping('10.79.0.1', 3)))
        m.finish()
