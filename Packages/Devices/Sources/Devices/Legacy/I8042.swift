public import AddressSpace

/// What is left of a PC's keyboard controller: the reset line of port 0x64 and a constant port 0x61. There is no keyboard.
///
/// The status register always shows a full output buffer and an empty input buffer. Linux's `reboot=k` waits for the input
/// buffer to be empty (arch/x86/kernel/reboot.c), so it resets at once; Linux's i8042 driver first drains the output buffer,
/// gives up after 16 bytes ("No controller found", drivers/input/serio/i8042.c) and costs under a millisecond. All-ones, which
/// an absent port reads as, would keep `reboot=k` polling 65536 times.
public final class I8042: RegionOps, ByteRegisters {
    public static let portBase: UInt16 = 0x60
    /// 0x60 data, 0x61 port B, 0x64 status and command.
    public static let portCount: UInt64 = 5

    /// Output buffer full, system flag, keyboard not locked.
    private static let status: UInt8 = 0x15
    /// Refresh toggle and timer outputs of port B as old kernels calibrate with them: timer 2 output set.
    private static let portB: UInt8 = 0x20

    private let reset: @Sendable () -> Void

    /// `reset` is called on a vCPU thread each time the guest pulses the reset line; it must not block.
    public init(reset: @escaping @Sendable () -> Void) { self.reset = reset }

    public func attach(to ports: Region) throws(AddressSpaceError) {
        try ports.add(.io(name: "i8042", size: Self.portCount, ops: self), at: UInt64(Self.portBase))
    }

    public func read(offset: UInt64, size: Int) -> UInt64 { readBytes(offset, size) }
    public func write(offset: UInt64, size: Int, value: UInt64) { writeBytes(offset, size, value) }

    func readByte(_ offset: Int) -> UInt8 {
        switch offset {
        case 1: Self.portB
        case 4: Self.status
        default: 0xFF
        }
    }

    /// Commands 0xF0...0xFF pulse the output lines whose bit is 0; line 0 is the CPU's reset. 0xFE is the usual one.
    func writeByte(_ offset: Int, _ value: UInt8) {
        if offset == 4, value & 0xF1 == 0xF0 { reset() }
    }
}
