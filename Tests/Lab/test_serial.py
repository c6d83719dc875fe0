"""The console on each of its back ends."""
import socket

import vm
from case import LabCase


class Serial(LabCase):
    def echoes(self, serial):
        m = self.vm(serial=serial).ready()
        self.assertEqual(m.sh('echo through the console'), 'through the console')
        text = 'x' * 200 # more than the receive FIFO of a 16550A
        self.assertEqual(m.sh(f'echo {text}'), text)
        return m

    def test_console_on_pipes_works_both_ways(self):
        self.echoes('stdio').finish()

    def test_console_on_terminal_works_both_ways(self):
        self.echoes('tty').finish()

    def test_console_on_pty_works_both_ways(self):
        self.echoes('pty').finish()

    def test_console_on_unix_socket_works_both_ways(self):
        self.echoes('socket').finish()

    def test_console_on_unix_socket_serves_second_client_after_first(self):
        m = self.echoes('socket')
        m.socket.shutdown(socket.SHUT_RDWR)
        m.reader.join()
        m.attach()
        self.assertEqual(m.sh('echo again'), 'again')
        m.finish()

    def test_console_goes_to_file(self):
        m = self.vm(serial='file', append=vm.APPEND + ' autorun=cG93ZXJvZmYgLWY=') # poweroff -f
        m.command('query-status') # it has started: the promise of memory is about machines that run
        m.ended_well()
        with open(m.serial_path, encoding='utf-8') as console:
            self.assertIn('Power down', console.read())

    def test_closed_stdin_does_not_end_guest(self):
        m = self.vm().ready()
        m.process.stdin.close()
        with m.client() as client:
            self.assertEqual(client.cmd('query-status')['status'], 'running')
        m.command('quit')
        m.ended_well()

    def test_flood_of_output_reaches_reader_whole(self):
        m = self.vm(serial='socket').ready()
        m.send('seq 1 3000; echo seen""all\n')
        m.wait_for('seenall')
        numbers = [w for w in m.console.split() if w.isdigit()]
        self.assertEqual(numbers[-3000:], [str(n) for n in range(1, 3001)])
        m.finish()
