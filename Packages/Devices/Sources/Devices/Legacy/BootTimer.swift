public import AddressSpace
internal import LinuxSys
internal import Synchronization

/// A register by which the guest says how far its start has come: it writes 1 when its kernel begins and 2 when its init runs, as with StratoVirt's `boot_time`. On
/// x86_64 it is a port, on aarch64 a word of memory.
///
/// Port 0x3ff is also the scratch register of the serial port, which Linux's 8250 driver writes and reads to tell an 8250 from a 16450: so it keeps what was written, whether
/// or not there is a serial port. A guest may write without end; only the first of each value counts and is logged.
public final class BootTimer: RegionOps {
    public static let port: UInt16 = 0x3FF
    /// Guest physical address of the word on aarch64, among the PL011's registers, which has none there. On x86_64 it is RAM.
    public static let address: UInt64 = 0x0900_0F00

    /// Nanoseconds from the start of the program to each mark; nil before the guest has set it.
    public struct Marks: Equatable, Sendable {
        public var kernel: UInt64?
        public var initialProcess: UInt64?
    }

    private struct State {
        var scratch: UInt8 = 0
        var marks = Marks()
    }

    private let clock: @Sendable () -> UInt64
    private let state = Mutex(State())

    public convenience init() { self.init { ProgramStart.elapsed } }

    init(clock: @escaping @Sendable () -> UInt64) { self.clock = clock }

    /// In front of the serial port's registers.
    public func attach(to ports: Region) throws(AddressSpaceError) {
        try ports.add(.io(name: "boot-timer", size: 1, ops: self), at: UInt64(Self.port), priority: 1)
    }

    /// In front of the PL011's registers. Of a word that is written the lowest byte counts.
    public func attach(toMemory memory: Region) throws(AddressSpaceError) {
        try memory.add(.io(name: "boot-timer", size: 4, ops: self), at: Self.address, priority: 1)
    }

    /// Any thread.
    public var marks: Marks { state.withLock { $0.marks } }

    public func read(offset: UInt64, size: Int) -> UInt64 { offset == 0 ? UInt64(state.withLock { $0.scratch }) : 0 }
    public func write(offset: UInt64, size: Int, value: UInt64) { if offset == 0 { mark(UInt8(truncatingIfNeeded: value)) } }

    private func mark(_ value: UInt8) {
        let now = clock()
        let event: String? = state.withLock { state in
            state.scratch = value
            switch value {
            case 1 where state.marks.kernel == nil:
                state.marks.kernel = now
                return "the guest's kernel has started"
            case 2 where state.marks.initialProcess == nil:
                state.marks.initialProcess = now
                return "the guest has booted"
            default: return nil
            }
        }
        if let event { Log.info("\(event) after \(Clock.milliseconds(now)) ms") }
    }
}
