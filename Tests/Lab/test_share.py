"""A directory shared by virtiofsd under Debian's kernel."""
import os

from case import LabCase
from host import Virtiofsd


class Share(LabCase):
    def test_directory_is_written_from_both_sides(self):
        shared, path = os.path.join(self.dir, 'shared'), os.path.join(self.dir, 'virtiofs.sock')
        os.mkdir(shared)
        data = os.urandom(1 << 20)
        self.write(os.path.join(shared, 'from-host'), data * 4)
        daemon = Virtiofsd(path, shared)
        self.addCleanup(daemon.close)
        m = self.stock(share=True, options=['-chardev', f'socket,id=virtiofs0,path={path},server,nowait',
                                            '-device', 'vhost-user-fs-device,chardev=virtiofs0,tag=lab share,id=fs0'])
        m.sh('mount -t virtiofs "lab share" /mnt')
        self.assertEqual(m.sh('ls /mnt'), 'from-host')
        m.sh('cp /mnt/from-host /mnt/from-guest; mkdir /mnt/dir; mv /mnt/from-guest /mnt/dir/; echo line >/mnt/dir/file; sync')
        with open(os.path.join(shared, 'dir/from-guest'), 'rb') as file:
            self.assertTrue(file.read() == data * 4)
        with open(os.path.join(shared, 'dir/file'), 'a', encoding='utf-8') as file:
            file.write('another\n')
        self.assertEqual(m.sh('cat /mnt/dir/file'), 'line\nanother')
        for i in range(50):
            self.write(os.path.join(shared, f'{i}'), str(i).encode())
        self.assertEqual(m.sh('cd /mnt; cat $(seq 0 49) | md5sum; cd /'), m.sh('seq 0 49 | tr -d "\\n" | md5sum'))
        m.sh('umount /mnt')
        m.sh('mount -t virtiofs "lab share" /mnt; ls /mnt/dir/file')
        m.finish()

    def write(self, path, data):
        with open(path, 'wb') as file:
            file.write(data)
