public import AddressSpace
internal import Synchronization

/// The registers by which a guest with hardware-reduced ACPI turns the machine off or resets it.
public final class PowerControl: Sendable {
    /// SLEEP_CONTROL_REG (ACPI 6.5 section 4.8.3.7).
    public static let sleepControlPort: UInt16 = 0xCE9
    /// SLEEP_STATUS_REG, the next byte.
    public static let sleepStatusPort: UInt16 = 0xCEA
    /// RESET_REG (section 4.8.3.6), laid out as the PC's reset control register so that Linux's `reboot=p` works too.
    public static let resetPort: UInt16 = 0xCF9
    /// RESET_VALUE: reset the CPU, hard.
    public static let resetValue: UInt8 = 0x06
    /// SLP_TYP of S5, the only sleep state; the DSDT says so in \_S5.
    public static let softOffType: UInt8 = 5

    private let sleep: SleepRegisters
    private let reset: ResetRegister

    /// Called on a vCPU thread each time the guest asks; neither may block.
    public init(guestShutdown: @escaping @Sendable () -> Void, guestReset: @escaping @Sendable () -> Void) {
        sleep = SleepRegisters(shutdown: guestShutdown)
        reset = ResetRegister(reset: guestReset)
    }

    public func attach(to ports: Region) throws(AddressSpaceError) {
        try ports.add(.io(name: "acpi-sleep", size: 2, ops: sleep), at: UInt64(Self.sleepControlPort))
        try ports.add(.io(name: "acpi-reset", size: 1, ops: reset), at: UInt64(Self.resetPort))
    }

    var registers: [(name: String, size: Int, ops: any RegionOps)] { [("sleep", 2, sleep), ("reset", 1, reset)] }
}

/// Only SLP_EN together with the S5 type acts. The control register reads as 0 and the status register too: WAK_STS never
/// comes up, because nothing wakes.
private final class SleepRegisters: RegionOps, ByteRegisters {
    private let shutdown: @Sendable () -> Void

    init(shutdown: @escaping @Sendable () -> Void) { self.shutdown = shutdown }

    func read(offset: UInt64, size: Int) -> UInt64 { readBytes(offset, size) }
    func write(offset: UInt64, size: Int, value: UInt64) { writeBytes(offset, size, value) }
    func readByte(_ offset: Int) -> UInt8 { 0 }

    func writeByte(_ offset: Int, _ value: UInt8) {
        let enable: UInt8 = 1 << 5
        if offset == 0, value & enable != 0, value >> 2 & 7 == PowerControl.softOffType { shutdown() }
    }
}

/// Bit 2 resets; bit 1 (hard rather than soft) is kept, because Linux writes it first and alone.
private final class ResetRegister: RegionOps, ByteRegisters {
    private let reset: @Sendable () -> Void
    private let kind = Atomic<UInt8>(0)

    init(reset: @escaping @Sendable () -> Void) { self.reset = reset }

    func read(offset: UInt64, size: Int) -> UInt64 { readBytes(offset, size) }
    func write(offset: UInt64, size: Int, value: UInt64) { writeBytes(offset, size, value) }
    func readByte(_ offset: Int) -> UInt8 { offset == 0 ? kind.load(ordering: .relaxed) : 0xFF }

    func writeByte(_ offset: Int, _ value: UInt8) {
        guard offset == 0 else { return }
        kind.store(value & 0x02, ordering: .relaxed)
        if value & 0x04 != 0 { reset() }
    }
}
