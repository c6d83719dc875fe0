"""The guest of Benchmarks/payload: a machine without an operating system that measures from inside, at the speed of the processor (see start.S), and
is asked over its serial port."""
import os
import subprocess
import time

from bench import Failure, Guest, Machine, PROJECT

TICKS = []  # in a microsecond, once it is known


def build():
    """Makes the payload; the guest that runs it."""
    made = subprocess.run([os.path.join(PROJECT, 'Benchmarks/payload/build')], stdout=subprocess.PIPE, check=False, text=True)
    if made.returncode != 0:
        raise Failure('the payload cannot be built')
    return Guest(made.stdout.strip())


def options(monitor):
    """What the payload needs of a monitor: virtio-mmio devices as virtio 1 has them."""
    return [] if monitor.is_ours else ['-global', 'virtio-mmio.force-legacy=false']


class Payload(Machine):
    """A machine that runs the payload. `ask` sends a command and returns the numbers of its answer; the commands are in Benchmarks/payload."""

    def __init__(self, monitor, guest, *more):
        super().__init__(monitor.command(guest, *options(monitor), *more))
        try:
            self.wait_for(b'ready\n')
            self.separate()
            if not TICKS:
                TICKS.append(self._ticks())
        except BaseException:
            self.__exit__()
            raise

    def ask(self, command, *numbers):
        self._say(command, *numbers)
        return self._answer(command)

    def ask_and_watch(self, command, *numbers):
        """The same for a command that says ">" and waits for a byte before it begins: its answer, and the CPU time the monitor spent beside the guest, in
        nanoseconds."""
        self._say(command, *numbers)
        self.wait_for(b'>')
        before = self.cpu_outside_guest()
        self.send(b'\n')
        numbers = self._answer(command)
        return numbers, self.cpu_outside_guest() - before

    def _say(self, command, *numbers):
        self.send(' '.join([command, *map(str, numbers)]).encode() + b'\n')

    def _answer(self, command):
        text = self.wait_for(b'\n')[0].decode().strip()
        if '!' in text:
            raise Failure(f'the guest says to "{command}": {text}')
        return [int(word) for word in text.split()]

    def _ticks(self):
        """The time stamp counter's ticks in a microsecond."""
        def both():
            return time.perf_counter_ns(), self.ask('ticks')[0]
        began, first = both()
        time.sleep(0.5)
        ended, last = both()
        return (last - first) / (ended - began) * 1000


def microseconds(ticks):
    return ticks / TICKS[0]
