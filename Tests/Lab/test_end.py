"""Every way a machine ends: exit code 0, sockets removed, terminal as it was."""
import signal

import vm
from case import LabCase, only, slow
from vm import APPEND


class End(LabCase):
    def ends(self, how, console=None, **configuration):
        m = self.vm(serial='tty', **configuration).ready()
        how(m)
        if console:
            m.wait_for(console)
        m.ended_well()
        return m

    def test_reboot_ends_machine(self):
        if not vm.RESETS:
            self.skipTest("QEMU's microvm has no i8042")
        self.ends(lambda m: m.send('reboot -f\n'), 'Restarting system')

    @only('x86_64')
    def test_reboot_of_stock_kernel_ends_machine(self):
        if not vm.RESETS:
            self.skipTest("QEMU's microvm has no i8042")
        self.ends(lambda m: m.send('reboot -f\n'), 'Restarting system', kernel=vm.STOCK, initrd=vm.STOCK_INITRD, memory='256')

    @only('x86_64')
    def test_reboot_without_acpi_ends_machine(self):
        if not vm.RESETS:
            self.skipTest("QEMU's microvm has no i8042")
        self.ends(lambda m: m.send('reboot -f\n'), 'Restarting system', append=APPEND + ' acpi=off')

    def test_poweroff_ends_machine_and_leaves_clean_file_system(self):
        m = self.ends(lambda m: m.send('poweroff\n'), 'Power down')
        vm.fsck(m.drives[0].path)

    def test_poweroff_with_8_vcpus_ends_machine_every_time(self):
        for _ in range(3):
            self.ends(lambda m: m.send('poweroff -f\n'), 'Power down', cpus=8)

    @slow
    def test_reboot_with_8_vcpus_ends_machine_every_time(self):
        if not vm.RESETS:
            self.skipTest("QEMU's microvm has no i8042")
        for _ in range(3):
            self.ends(lambda m: m.send('reboot -f\n'), 'Restarting system', cpus=8)

    def test_panic_with_panic_1_ends_machine(self):
        if not vm.RESETS:
            self.skipTest("QEMU's microvm has no i8042")
        self.ends(lambda m: m.send('echo c >/proc/sysrq-trigger\n'), 'Kernel panic')

    def test_qmp_quit_ends_machine(self):
        self.ends(lambda m: m.command('quit'))

    def test_sigterm_ends_machine(self):
        self.ends(lambda m: m.signal(signal.SIGTERM))

    def test_sigint_ends_machine(self):
        self.ends(lambda m: m.signal(signal.SIGINT))

    def test_sigterm_ends_busy_machine_with_8_vcpus(self):
        def stop(m):
            m.sh('for i in 1 2 3 4 5 6 7; do (while :; do :; done) & done')
            m.signal(signal.SIGTERM)
        self.ends(stop, cpus=8)

    def test_sigterm_ends_machine_whose_guest_sleeps(self):
        self.ends(lambda m: (m.send('sleep 100000\n'), m.signal(signal.SIGTERM)))

    def test_sigint_ends_paused_machine(self):
        def stop(m):
            m.command('stop')
            m.signal(signal.SIGINT)
        self.ends(stop)

    def test_sigterm_ends_machine_before_its_kernel_is_up(self):
        m = self.vm(serial='tty')
        m.command('query-status')
        m.signal(signal.SIGTERM)
        m.ended_well()
