"""Every command and every error class of QMP, asked by the qemu.qmp package."""
import asyncio
import os

import vm
from test_qmp import Session
from vm import HANG


class EveryCommand(Session):
    """Each step is a command with its arguments, and the class of the error that it must give."""

    def steps(self, image, tap):
        node, path = {'node-name': 'disk'}, {'path': '/machine/peripheral'}
        return [
            ('qmp_capabilities', {}), ('query-version', {}), ('query-commands', {}), ('query-events', {}), ('query-qmp-schema', {}),
            ('query-status', {}), ('query-target', {}), ('query-kvm', {}), ('query-machines', {}), ('query-cpus', {}), ('query-hotpluggable-cpus', {}),
            ('query-iothreads', {}), ('query-mem', {}), ('query-memdev', {}), ('query-memory-size-summary', {}), ('query-chardev', {}), ('query-gic-capabilities', {}), ('query-tpm-models', {}),
            ('query-tpm-types', {}), ('query-command-line-options', {}), ('query-migrate', {}), ('query-migrate-capabilities', {}),
            ('migrate_cancel', {}), ('query-sev-capabilities', {}, 'GenericError'), ('human-monitor-command', {'command-line': 'info snapshots'}),
            *((f'trace-{word}get-state', {'name': '*'}) for word in ('', 'event-')),
            *((f'trace-{word}set-state', {'name': '*', 'enable': False}) for word in ('', 'event-')),
            *(('query-stats', {'target': target}) for target in ('vm', 'vcpu', 'device')), ('query-stats', {'target': 'cryptodev'}, 'GenericError'),
            ('set-viomem', {'id': 'none', 'requested-size': '4M'}, 'DeviceNotFound'), ('get-viomem', {'id': 'none'}, 'DeviceNotFound'), ('query-memory-devices', {}),
            ('query-stats-schemas', {}),
            ('qom-list', path), ('qom-list-types', {}), ('qom-get', {**path, 'property': 'type'}), ('device-list-properties', {'typename': 'virtio-blk-device'}),

            ('balloon', {'value': 1 << 27}, 'DeviceNotActive'), ('query-balloon', {}, 'DeviceNotActive'), # there is none
            ('qom-set', {**path, 'property': 'type', 'value': 'x'}, 'GenericError'),

            ('device_add', {'id': 'disk', 'driver': 'virtio-blk-mmio', 'addr': '1'}, 'GenericError'), # no such drive
            ('blockdev-add', {**node, 'driver': 'raw', 'file': {'driver': 'file', 'filename': image}, 'cache': {'direct': False}}),
            ('device_add', {'id': 'disk', 'driver': 'virtio-blk-mmio', 'addr': '1'}),
            ('query-block', {}), ('query-named-block-nodes', {}), ('query-blockstats', {}), ('query-block-jobs', {}),
            ('block_set_io_throttle', {'id': 'disk', **dict.fromkeys(('bps', 'bps_rd', 'bps_wr', 'iops_rd', 'iops_wr'), 0), 'iops': 1000, 'iops_max': 2000}),
            ('block-commit', {'device': 'disk'}, 'GenericError'),
            ('blockdev-snapshot-internal-sync', {'device': 'disk', 'name': 'x'}, 'GenericError'),
            ('blockdev-snapshot-delete-internal-sync', {'device': 'disk', 'name': 'x'}, 'GenericError'),
            ('blockdev-del', node, 'GenericError'), # in use
            ('device_del', {'id': 'disk'}), ('device_del', {'id': 'disk'}, 'DeviceNotFound'), ('blockdev-del', node),

            ('netdev_add', {'id': 'net', 'type': 'tap', 'fd': 'stored'}),
            ('netlink_set', {'id': 'net', 'up': False}, 'DeviceNotActive'),
            ('device_add', {'id': 'net', 'driver': 'virtio-net-mmio', 'addr': '0'}),
            ('netlink_set', {'id': 'net', 'up': False}), ('netlink_set', {'id': 'net', 'up': True}),
            ('netdev_replace', {'id': 'net', 'ifname': tap}), ('netdev_del', {'id': 'net'}, 'GenericError'), # in use
            ('device_del', {'id': 'net'}), ('netdev_del', {'id': 'net'}),

            ('no-such-command', {}, 'CommandNotFound'), ('query-status', {'no-such-argument': 1}, 'GenericError'),
            ('cont', {}, 'GenericError'), # runs already
            ('stop', {}), ('cont', {}), ('stop', {}), ('system_powerdown', {}), ('system_reset', {}),
        ]

    def test_every_command_and_every_error_class(self):
        if vm.QEMU:
            self.skipTest('other commands there')
        from qemu.qmp import ExecuteError
        taps = self.tap(), self.tap()
        m = self.vm().ready()
        classes = set()

        async def step(client, command, arguments, expected=None):
            try:
                await asyncio.wait_for(client.execute(command, arguments), HANG)
                given = None
            except ExecuteError as error:
                given = error.error_class
                self.assertTrue(str(error))
                classes.add(given)
            self.assertEqual(given, expected, f'{command} {arguments}')

        async def talk(client, events):
            names = {c['name'] for c in await client.execute('query-commands')}
            for name in ('stored', 'closed'):
                queue, = taps[name == 'stored'].open_queues()
                client.send_fd_scm(queue)
                await step(client, 'getfd', {'fdname': name})
                os.close(queue)
            await step(client, 'closefd', {'fdname': 'closed'})
            steps = self.steps(self.blank(1), taps[0].name)
            for words in steps:
                await step(client, *words)
                await asyncio.sleep(0.02) # within the rate limit
            self.assertEqual({words[0] for words in steps} - {'no-such-command'} | {'getfd', 'closefd', 'quit'}, names)
            seen = []
            while not seen or seen[-1] != 'SHUTDOWN':
                seen.append((await asyncio.wait_for(events.get(), HANG))['event'])
            self.assertEqual(seen, ['DEVICE_DELETED', 'DEVICE_DELETED', 'STOP', 'RESUME', 'STOP', 'POWERDOWN', 'RESET', 'SHUTDOWN'])
        self.drive(m, talk)
        m.ended_well()
        self.assertEqual(classes, {'GenericError', 'CommandNotFound', 'DeviceNotFound', 'DeviceNotActive'})

    def test_commands_that_come_too_fast_are_throttled_and_quit_ends_machine_that_has_not_started(self):
        if vm.QEMU:
            self.skipTest('no limit there')
        from qemu.qmp import ExecuteError
        m = self.vm(options=['-S'])

        async def talk(client, _):
            status = await client.execute('query-status')
            self.assertFalse(status['running'])
            answers = await asyncio.gather(*(client.execute('query-status') for _ in range(400)), return_exceptions=True)
            refused = [a for a in answers if isinstance(a, ExecuteError)]
            self.assertEqual({a.error_class for a in refused}, {'OperationThrottled'})
            self.assertGreaterEqual(len(answers) - len(refused), 100)
            await asyncio.sleep(2)
            await client.execute('cont')
            await asyncio.to_thread(m.ready)
            await client.execute('quit')
        self.drive(m, talk)
        m.ended_well()
