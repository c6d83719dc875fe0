"""The machine under the qemu.qmp package: what is asked, what is told, and that it really happens."""
import asyncio
import time

import vm
from case import LabCase, only
from vm import HANG


async def next_event(events):
    return await asyncio.wait_for(events.get(), HANG)


class Session(LabCase):
    def drive(self, m, talk):
        """Runs talk(client, events) with a connected asynchronous client."""
        from qemu.qmp import EventListener, QMPClient

        m.connect(m.qmp_path).close()

        async def session():
            client = QMPClient('lab')
            events = EventListener()
            client.register_listener(events)
            await client.connect(m.qmp_path)
            try:
                await asyncio.wait_for(talk(client, events), 4 * HANG)
            finally:
                try:
                    await client.disconnect()
                except EOFError: # the machine ended first
                    pass
        asyncio.run(session())


class QMP(Session):
    def test_stop_freezes_guest_and_cont_goes_on_with_events(self):
        m = self.vm().ready()
        m.send('while sleep 0.1; do i=$((i+1)); echo "tick-$i-"; done\n')
        m.wait_for('tick-3-')

        async def talk(client, events):
            self.assertEqual((await client.execute('query-status'))['status'], 'running')
            await client.execute('stop')
            self.assertEqual((await next_event(events))['event'], 'STOP')
            status = await client.execute('query-status')
            self.assertEqual((status['status'], status['running']), ('paused', False))
            await asyncio.sleep(1) # what was under way to this process
            seen = m.console.count('tick-')
            await asyncio.sleep(2)
            self.assertEqual(m.console.count('tick-'), seen)
            await client.execute('cont')
            self.assertEqual((await next_event(events))['event'], 'RESUME')
            self.assertEqual((await client.execute('query-status'))['status'], 'running')
            m.wait_for(f'tick-{seen + 3}-')
            await client.execute('quit')
            event = await next_event(events)
            self.assertEqual(event['event'], 'SHUTDOWN')
            self.assertFalse(event['data']['guest'])
        self.drive(m, talk)
        m.ended_well()

    def test_stop_and_cont_again_and_again_leave_guest_running(self):
        m = self.vm(cpus=2).ready()
        with m.client() as client:
            for _ in range(20):
                client.cmd('stop')
                client.cmd('cont')
        self.assertEqual(m.sh('echo alive'), 'alive')
        m.finish()

    def test_clock_of_guest_does_not_jump_backwards_over_stop(self):
        m = self.vm().ready()
        before = int(m.sh('date +%s'))
        m.command('stop')
        time.sleep(2)
        m.command('cont')
        self.assertGreaterEqual(int(m.sh('date +%s')), before)
        m.finish()

    @only('aarch64')
    def test_clock_of_guest_stands_still_over_stop(self):
        m = self.vm(cpus=2).ready()
        pause, began = 20, time.monotonic()
        before = float(m.sh('cut -d" " -f1 /proc/uptime'))
        m.command('stop')
        stopped = time.monotonic()
        time.sleep(pause)
        stopped = time.monotonic() - stopped
        m.command('cont')
        for cpu in (0, 1): # each has a counter
            after = float(m.sh(f'taskset {cpu + 1} cut -d" " -f1 /proc/uptime'))
            self.assertTrue(before <= after < before + time.monotonic() - began - stopped + 1, (before, after))
        m.finish()

    def test_greeting_version_commands_and_cpus(self):
        m = self.vm(cpus=2).ready()

        async def talk(client, _):
            self.assertEqual({'qemu', 'package'} & set(client.greeting.QMP.version), {'qemu', 'package'})
            self.assertEqual(set((await client.execute('query-version'))['qemu']), {'major', 'minor', 'micro'})
            names = {c['name'] for c in await client.execute('query-commands')}
            self.assertLessEqual({'qmp_capabilities', 'query-status', 'stop', 'cont', 'quit', 'system_powerdown', 'system_reset'}, names)
            if not vm.QEMU:
                cpus = await client.execute('query-cpus')
                self.assertEqual([c['CPU'] for c in cpus], [0, 1])
                self.assertIsInstance(await client.execute('query-hotpluggable-cpus'), list)
        self.drive(m, talk)
        m.finish()

    def test_system_powerdown_ends_guest_in_good_order(self):
        for kernel, initrd in {vm.GUEST, (vm.STOCK, vm.STOCK_INITRD)}:
            m = self.vm(kernel=kernel, initrd=initrd, memory='256').ready()

            async def talk(client, events):
                await client.execute('system_powerdown')
                names = [(await next_event(events))['event'] for _ in range(2)]
                self.assertEqual(names, ['POWERDOWN', 'SHUTDOWN'])
            self.drive(m, talk)
            m.ended_well()
            self.assertIn('power button', m.console)
            vm.fsck(m.drives[0].path)

    def test_shutdown_event_of_guest_says_guest(self):
        m = self.vm().ready()

        async def talk(client, events):
            m.send('poweroff -f\n')
            event = await next_event(events)
            self.assertEqual((event['event'], event['data']['guest']), ('SHUTDOWN', True))
        self.drive(m, talk)
        m.ended_well()

    def test_client_reconnects_any_number_of_times(self):
        m = self.vm().ready()
        for _ in range(20):
            m.command('query-status')
        self.assertEqual(m.sh('echo alive'), 'alive')
        m.finish()
