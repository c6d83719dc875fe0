public import AddressSpace
public import Hypervisor
internal import Synchronization

/// The power button behind an ACPI Generic Event Device (ACPI 6.5 section 5.6.9): one 32-bit event register and one interrupt.
///
/// `press` sets an event bit and raises an edge; the guest's _EVT method reads the register, which clears it, and notifies the
/// button device. StratoVirt's standard machines have the register at the same address.
public final class PowerButton: RegionOps {
    public static let registerBase: UInt64 = 0xF000_0000
    public static let registerSize: UInt64 = 4
    /// Above the ISA interrupts, which the sysbus hands out.
    public static let gsi: UInt32 = 16
    /// Event bit of the power button.
    public static let powerDownEvent: UInt32 = 1 << 0

    private let line: any InterruptLine
    private let events = Atomic<UInt32>(0)

    public init(line: any InterruptLine) { self.line = line }

    public func attach(to memory: Region) throws(AddressSpaceError) {
        try memory.add(.io(name: "ged", size: Self.registerSize, ops: self), at: Self.registerBase)
    }

    /// Any thread. A press that no driver has read yet is raised again by the next one: the guest may not have had a handler.
    public func press() {
        events.bitwiseOr(Self.powerDownEvent, ordering: .acquiringAndReleasing)
        line.pulse()
    }

    /// A read of any part returns and clears the whole register.
    public func read(offset: UInt64, size: Int) -> UInt64 {
        guard offset < Self.registerSize, (1...8).contains(size) else { return .max }
        let value = UInt64(events.exchange(0, ordering: .acquiringAndReleasing)) >> (8 * offset)
        return size >= 8 ? value : value & (1 << (8 * UInt64(size)) - 1)
    }

    /// The register is read-only.
    public func write(offset: UInt64, size: Int, value: UInt64) {}
}
