"""What every case shares: machines that are ended with the case, their consoles shown when it fails."""
import os
import shutil
import tempfile
import unittest

import vm
from host import Tap
from vm import VM, copy_of_rootfs


def only(architecture):
    """Marks a case, or a class of cases, of which the other architectures have no counterpart: there the suite does not know it."""
    def mark(case):
        case.architecture = architecture
        return case
    return mark


def slow(case):
    """Marks a case that takes minutes on an emulated aarch64, and shows nothing of it that another does not: there it runs when it is named."""
    case.slow = True
    return case


class LabCase(unittest.TestCase):
    def vm(self, **configuration):
        machine = VM(**configuration)
        self.machines.append(machine)
        self.addCleanup(machine.close)
        return machine

    def stock(self, memory='512', **configuration):
        """Debian's kernel, at its shell."""
        return self.vm(kernel=vm.STOCK, initrd=vm.STOCK_INITRD, memory=memory, **configuration).ready()

    def tap(self, queues=1):
        tap = Tap(queues)
        self.addCleanup(tap.close)
        return tap

    def setUp(self):
        self.machines = []
        self.dir = tempfile.mkdtemp(prefix='case-')
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def rootfs(self):
        return copy_of_rootfs(self.dir)

    def blank(self, mib):
        path = os.path.join(self.dir, f'{mib}-mib.img')
        with open(path, 'wb') as image:
            image.truncate(mib << 20)
        return path

    def consoles(self):
        return '\n'.join(f'--- {" ".join(m.process.args)}\n{m.console}\n--- {m.said()}' for m in self.machines)
