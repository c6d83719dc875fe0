"""What the parts share: the monitors that are compared, a machine that runs, runs in turn, spreads, tables and JSON.

A part asks `monitors()` whom to measure (ours first; the peer is left out with a note where it is missing), starts each as a `Machine`, calls
`alternate` so that what else happens on this host meets all of them, prints a `table` and ends with `save`. Environment:

  QUICK=1           a few seconds a part instead of minutes: that the instruments work, not what they say
  RUNS=N            repetitions, instead of the part's own number
  STRATOVIRT=FILE   the program to measure; with OTHER=FILE beside it, another build of it, to compare two
  BENCH_LOCK=FILE   is held while something is measured, so that two benchmarks take turns
"""
import contextlib
import fcntl
import json
import os
import platform
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

PROJECT = os.path.realpath(os.path.join(os.path.dirname(__file__), '..'))
RESULTS = os.path.join(PROJECT, '.build/bench')
QUICK = bool(os.environ.get('QUICK'))
notes = []


class Failure(Exception):
    """A measurement that could not be made."""


# What is compared

class Guest(NamedTuple):
    kernel: str
    append: str = ''
    cpus: int = 1
    mib: int = 128


class Stratovirt:
    """This project's program."""

    def __init__(self, path, name='stratovirt'):
        self.path, self.name, self.is_ours = path, name, True

    def command(self, guest, *options):
        """The command line: `guest` with its serial port on standard input and output, and `options`."""
        # A guest has to have something that could be its root, or one that serves it.
        root = [] if {'-drive', '-initrd', '-chardev'} & set(options) else ['-chardev', 'file,id=nothing,path=/dev/null']
        return [self.path, '-machine', 'type=microvm', '-kernel', guest.kernel, '-append', guest.append, '-smp', str(guest.cpus), '-m', str(guest.mib),
                '-serial', 'stdio', *root, *options]


class Microvm:
    """QEMU's microvm without what a guest can do without."""

    def __init__(self, path):
        self.path, self.name, self.is_ours = path, 'QEMU', False

    def command(self, guest, *options):
        return [self.path, '-M', 'microvm,acpi=off,pit=off,pic=off,rtc=off,x-option-roms=off', '-accel', 'kvm', '-name', 'bench,debug-threads=on',
                '-nodefaults', '-no-user-config', '-display', 'none', '-kernel', guest.kernel, '-append', guest.append,
                '-smp', str(guest.cpus), '-m', str(guest.mib), '-serial', 'stdio', *options]


class UsualMicrovm(Microvm):
    """QEMU's microvm as its documentation shows it (docs/system/i386/microvm.rst, "Running a microvm-based VM"), with the serial port of a PC."""

    def __init__(self, path):
        super().__init__(path)
        self.name = 'QEMU, usual'

    def command(self, guest, *options):
        return [self.path, '-M', 'microvm', '-enable-kvm', '-cpu', 'host', '-nodefaults', '-no-user-config', '-nographic', '-kernel', guest.kernel,
                '-append', guest.append, '-smp', str(guest.cpus), '-m', str(guest.mib), '-serial', 'stdio', *options]


def monitors():
    """Ours, another build of it (OTHER), and the peer where this host has it."""
    ours = os.environ.get('STRATOVIRT', os.path.join(PROJECT, '.build/release/stratovirt'))
    if not os.access(ours, os.X_OK):
        raise Failure(f'{ours} is missing: make build')
    found = [Stratovirt(ours)]
    if os.environ.get('OTHER'):
        found.append(Stratovirt(os.environ['OTHER'], 'other'))
    peer = shutil.which('qemu-system-x86_64')
    if peer:
        found.append(Microvm(peer))
    else:
        note('QEMU is missing (apt-get install qemu-system-x86): nothing to compare with')
    return found


# A machine that runs

class Machine:
    """A monitor's process and the serial port of its guest. Leaving a `with` ends it; whoever measures its end calls `end`."""

    def __init__(self, command):
        self.command = command
        self.errors = tempfile.TemporaryFile()
        self.output, theirs = os.pipe()
        stdin, self.input = os.pipe()
        for end in (self.output, self.input):
            os.set_blocking(end, False)
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, theirs, 1), (os.POSIX_SPAWN_DUP2, self.errors.fileno(), 2)]
        self.began = time.perf_counter_ns()
        self.pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        os.close(stdin)
        os.close(theirs)
        self.pending = b''
        self.workers = []  # the kernel's threads that work for it and are not its own
        self.usage = None  # of the process, once it has ended

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.usage is None:
            os.kill(self.pid, 9)
            self._wait()
        for descriptor in (self.output, self.input):
            os.close(descriptor)
        self.errors.close()

    def send(self, data):
        """Bytes for the guest's serial port, which takes them as it can."""
        while data:
            select.select([], [self.input], [])
            data = data[os.write(self.input, data):]

    def wait_for(self, marker, seconds=60):
        """What the guest sends up to and with `marker`, and how many nanoseconds after the start it was there."""
        deadline = time.monotonic() + seconds
        while marker not in self.pending:
            if not select.select([self.output], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Failure(f'no {marker!r} within {seconds} s{self._story()}')
            more = os.read(self.output, 65536)
            if not more:
                raise Failure(f'ended without {marker!r}{self._story()}')
            self.pending += more
        now = time.perf_counter_ns() - self.began
        text, self.pending = self.pending.split(marker, 1)
        return text + marker, now

    def cpu(self):
        """CPU time of the process so far, its ended threads too, and of `workers`; nanoseconds."""
        return sum(time.clock_gettime_ns(~process << 3 | 2) for process in [self.pid, *self.workers])  # clock_getcpuclockid(3)

    def cpu_outside_guest(self):
        """CPU time of everything but the vCPUs' threads; nanoseconds."""
        def guests():
            return sum(int(read(f'/proc/{self.pid}/task/{thread}/schedstat').split()[0]) for thread, name in self.threads() if name.startswith('CPU '))
        # What a running thread has used the kernel adds up at its ticks: between two of them both clocks count the same.
        before, total, after = guests(), self.cpu(), guests()
        while before != after:
            before, total, after = after, self.cpu(), guests()
        return total - before

    def threads(self):
        """Id and name of each of its threads."""
        for thread in os.listdir(f'/proc/{self.pid}/task'):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield int(thread), read(f'/proc/{self.pid}/task/{thread}/comm')

    def count_vhost(self):
        """Counts vhost's work from now on, which kernels before 6.4 do in threads of their own, each named after the thread that it works for; and treats
        whoever does it as `favour` and `separate` treat everything but the vCPUs."""
        names = {f'vhost-{thread}\n' for thread, _ in self.threads()}
        for process in filter(str.isdigit, os.listdir('/proc')):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if read(f'/proc/{process}/comm') in names:
                    self.workers.append(int(process))
                    with contextlib.suppress(PermissionError):
                        os.setpriority(os.PRIO_PROCESS, int(process), -20)
        self.separate()

    def separate(self):
        """Keeps the vCPUs on a CPU of their own, for guests that poll: else the scheduler may let whom they wait for wait for them."""
        guests, others = shares()
        for thread, name in [*self.threads(), *((worker, 'vhost') for worker in self.workers)]:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, guests if name.startswith('CPU ') else others)

    def end(self, signal=15):
        """Ends the process and returns its resource usage (wait4)."""
        os.kill(self.pid, signal)
        return self._wait()

    def _wait(self):
        _, _, self.usage = os.wait4(self.pid, 0)
        return self.usage

    def _story(self):
        self.errors.seek(0)
        told = (self.pending + self.errors.read()).decode(errors='replace').strip()
        return f': {told[-2000:]}\n  {" ".join(self.command)}' if told else f'\n  {" ".join(self.command)}'


def shares():
    """The CPU for guests that poll, and those for everything else. The guests' is the one that devices have interrupted least: where a device interrupts, the
    kernel's own threads go on with what it has done (direct writes to a disk end so), and wait for a guest that never rests."""
    cpus = sorted(os.sched_getaffinity(0))
    counts = dict.fromkeys(cpus, 0)
    heads, *lines = read('/proc/interrupts').splitlines()
    for line in lines:
        name, *cells = line.split()
        if name[:-1].isdigit():
            for head, cell in zip(heads.split(), cells):
                if int(head[len('CPU'):]) in counts:
                    counts[int(head[len('CPU'):])] += int(cell)
    quietest = min(cpus, key=counts.get)
    return {quietest}, set(cpus) - {quietest} or set(cpus)


def read(path):
    with open(path, encoding='utf-8') as file:
        return file.read()


# Runs in turn, and what comes of them

def runs(usual, quick=2):
    return int(os.environ.get('RUNS') or (quick if QUICK else usual))


@contextlib.contextmanager
def quiet():
    """Holds BENCH_LOCK, if there is one."""
    path = os.environ.get('BENCH_LOCK')
    if not path:
        yield
        return
    with open(path, 'a', encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def alternate(count, subjects):
    """Calls each of `subjects` (name to function) `count` times in turn, forwards and backwards; a function returns what it saw as name to number.
    Returns for each subject name to Spread."""
    seen = {subject: {} for subject in subjects}
    for turn in range(count):
        for subject in list(subjects)[::-1 if turn % 2 else 1]:
            with quiet():
                numbers = subjects[subject]()
            for name, number in numbers.items():
                seen[subject].setdefault(name, []).append(number)
    return {subject: {name: Spread(values) for name, values in numbers.items()} for subject, numbers in seen.items()}


class Spread:
    """What was seen of one number."""

    def __init__(self, values):
        if not values:
            raise Failure('nothing was measured')
        self.values = values  # in the order of the runs
        self.min, self.max, self.median = min(values), max(values), statistics.median(values)
        self.q1, _, self.q3 = statistics.quantiles(values, n=4, method='inclusive') if len(values) > 1 else values * 3

    def json(self):
        return {'min': self.min, 'q1': self.q1, 'median': self.median, 'q3': self.q3, 'max': self.max, 'runs': len(self.values)}

    def over(self, other):
        """The ratios of runs made in the same turn, when the host was most alike."""
        return Spread([mine / theirs for mine, theirs in zip(self.values, other.values)])

    def text(self, form='{:.0f}'):
        """The median, and where half of the values lie."""
        return f'{form.format(self.median)} ({form.format(self.q1)}-{form.format(self.q3)})'

    def short(self, form='{:.0f}'):
        """The median, and half the distance of the quartiles in percent of it."""
        return f'{form.format(self.median)} \u00b1{(self.q3 - self.q1) / 2 / (self.median or 1):.0%}'


def note(text):
    """Something that a reader of the numbers has to know: printed now, and kept beside them."""
    if text not in notes:
        notes.append(text)
        print(f'note: {text}', flush=True)


def progress(text):
    print(f'[{time.strftime("%H:%M:%S")}] {text}', file=sys.stderr, flush=True)


def table(heads, rows):
    """Prints a table whose first column is text, the head of which says what it is about, and whose others are numbers."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    print()
    for row in [heads, ['-' * width for width in widths], *rows]:
        print('  ' + '  '.join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths))))
    sys.stdout.flush()


def save(part, numbers):
    """Writes .build/bench/PART.json: the numbers (Spreads among them), what they were seen on, the notes."""
    os.makedirs(RESULTS, exist_ok=True)
    path = os.path.join(RESULTS, f'{part}.json')
    with open(path, 'w', encoding='utf-8') as file:
        json.dump({'part': part, 'quick': QUICK, 'host': host(), 'notes': notes, 'numbers': numbers}, file, indent=1, default=Spread.json)
        file.write('\n')
    print(f'\n{os.path.relpath(path, PROJECT)}')


def host():
    model = next((line.split(':', 1)[1].strip() for line in read('/proc/cpuinfo').splitlines() if line.startswith('model name')), platform.machine())
    versions = {}
    for monitor in monitors():
        versions[monitor.name] = subprocess.run([monitor.path, '-version'], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[0]
    return {'cpu': model, 'cpus': os.cpu_count(), 'kernel': platform.release(), 'load': os.getloadavg(), 'when': time.strftime('%Y-%m-%d %H:%M'),
            'versions': versions}


def favour():
    """Asks the scheduler to prefer this process and what it starts, where this user may."""
    with contextlib.suppress(OSError):
        os.setsid()  # of which each has its share of the CPU, and its own priority
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        with open('/proc/self/autogroup', 'w', encoding='utf-8') as group:
            group.write('-20')


def run(part):
    """Runs a part's function; the exit code is 1 when it could not measure."""
    try:
        favour()
        part()
    except Failure as failure:
        sys.exit(f'{os.path.basename(sys.argv[0])}: {failure}')
