public import AddressSpace
public import Hypervisor
public import LinuxSys
internal import Synchronization

/// The PL031 real-time clock: a 32-bit count of seconds and one alarm (ARM DDI 0224).
///
/// The count is the host's UTC plus what the guest has loaded. It runs from the start, as where firmware has enabled it. The interrupt is a level.
public final class PL031: RegionOps, PrimeCell {
    public static let registerBase: UInt64 = 0x0901_0000
    public static let registerSize: UInt64 = 0x1000
    public static let gsi: UInt32 = 2

    static let identity = PrimeCellIdentity(part: 0x031, revision: 0)

    private struct State {
        var clock: PL031Clock
        var alarm = AlarmTimer()
        var isAsserted = false
    }

    private let line: (any InterruptLine)?
    private let loop: EventLoop?
    private let now: @Sendable () -> UInt64
    private let state: Mutex<State>

    /// Without `loop` the alarm shows only when the guest looks. `now`: nanoseconds since 1970-01-01 UTC, for tests.
    public init(
        line: (any InterruptLine)?, loop: EventLoop?,
        now: @escaping @Sendable () -> UInt64 = { Clock.realtimeNanoseconds() }
    ) {
        self.line = line
        self.loop = loop
        self.now = now
        state = Mutex(State(clock: PL031Clock(now: now())))
    }

    public func attach(to memory: Region) throws(AddressSpaceError) {
        try memory.add(.io(name: "pl031", size: Self.registerSize, ops: self, maxAccessSize: 4), at: Self.registerBase)
    }

    // MARK: Guest side, vCPU threads

    public func read(offset: UInt64, size: Int) -> UInt64 { readWord(offset, size) }
    public func write(offset: UInt64, size: Int, value: UInt64) { writeWord(offset, size, value) }

    func readRegister(_ offset: UInt64) -> UInt32 {
        state.withLock { state in
            let time = now()
            state.clock.advance(to: time)
            update(&state, time)
            return state.clock.read(offset)
        }
    }

    func writeRegister(_ offset: UInt64, _ value: UInt32) {
        state.withLock { state in
            let time = now()
            state.clock.advance(to: time)
            state.clock.write(offset, value)
            update(&state, time)
        }
    }

    // MARK: Alarm

    /// Takes the timer's place in tests.
    func timerFired() {
        state.withLock { state in
            state.alarm.fired()
            let time = now()
            state.clock.advance(to: time)
            update(&state, time)
        }
    }

    /// Sets the line, and waits for the alarm if one can still raise it.
    private func update(_ state: inout State, _ time: UInt64) {
        let isAsserted = state.clock.isInterruptAsserted
        if isAsserted != state.isAsserted { line?.set(level: isAsserted) }
        state.isAsserted = isAsserted

        let target = state.clock.nextAlarm
        let delay = target.map { PL031Clock.nanoseconds(from: time, to: $0) } ?? 0
        state.alarm.wait(for: target, delay: delay, on: line == nil ? nil : loop) { [weak self] in self?.timerFired() }
    }
}
