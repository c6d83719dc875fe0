public import AddressSpace
public import Hypervisor
public import LinuxSys
internal import Synchronization

/// MC146818 real-time clock with 128 bytes of CMOS memory at ports 0x70 (index) and 0x71 (data), interrupt on GSI 8.
///
/// The time is the host's UTC plus what the guest has set. Alarm and update-ended interrupts work; the periodic interrupt and
/// the square wave do not exist (Linux emulates them with timers). Reads never wait: update-in-progress shows for the 244
/// microseconds that the datasheet promises before a second ends, and no longer.
public final class CMOSRTC: RegionOps, ByteRegisters {
    public static let portBase: UInt16 = 0x70
    public static let portCount: UInt64 = 2
    public static let gsi: UInt32 = 8
    /// CMOS byte that holds the century, as the FADT says.
    public static let centuryIndex: UInt8 = 0x32

    private let line: (any InterruptLine)?
    private let loop: EventLoop?
    private let now: @Sendable () -> UInt64
    private let state: Mutex<CMOSClock>

    /// Without `loop` or `line` there are flags but no interrupts. `now`: nanoseconds since 1970-01-01 UTC, for tests.
    public init(
        line: (any InterruptLine)?, loop: EventLoop?,
        now: @escaping @Sendable () -> UInt64 = { Clock.realtimeNanoseconds() }
    ) {
        self.line = line
        self.loop = loop
        self.now = now
        state = Mutex(CMOSClock(now: now()))
    }

    public func attach(to ports: Region) throws(AddressSpaceError) {
        try ports.add(.io(name: "cmos-rtc", size: Self.portCount, ops: self), at: UInt64(Self.portBase))
    }

    public func read(offset: UInt64, size: Int) -> UInt64 { readBytes(offset, size) }
    public func write(offset: UInt64, size: Int, value: UInt64) { writeBytes(offset, size, value) }

    func readByte(_ offset: Int) -> UInt8 {
        guard offset == 1 else { return 0xFF }
        return state.withLock { clock in
            let value = clock.read(now: now())
            if clock.index == CMOSClock.registerC { schedule(&clock) }
            return value
        }
    }

    func writeByte(_ offset: Int, _ value: UInt8) {
        state.withLock { clock in
            switch offset {
            case 0: clock.index = value & 0x7F  // bit 7 masks NMI on a PC
            case 1:
                clock.write(value, now: now())
                schedule(&clock)
            default: break
            }
        }
    }

    /// Takes the timer's place in tests.
    func timerFired() {
        state.withLock { clock in
            clock.alarm.fired()
            schedule(&clock)
        }
    }

    /// Raises the interrupt when an enabled flag has come up, else waits for the next one. While the interrupt is asserted
    /// nothing is armed: a guest that never reads register C costs no wake-ups.
    private func schedule(_ clock: inout CMOSClock) {
        let time = now()
        clock.updateFlags(now: time)
        let isAsserted = clock.isInterruptAsserted
        if isAsserted, !clock.wasAsserted { line?.pulse() }
        clock.wasAsserted = isAsserted

        let target = isAsserted ? nil : clock.nextEvent(now: time)
        let delay = target.map { clock.nanoseconds(until: $0, now: time) } ?? 0
        clock.alarm.wait(for: target, delay: delay, on: line == nil ? nil : loop) { [weak self] in self?.timerFired() }
    }
}
