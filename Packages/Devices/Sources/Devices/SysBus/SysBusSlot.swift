public import AddressSpace
public import Hypervisor

/// A device's place on the bus.
public struct SysBusSlot: Sendable {
    public let name: String
    /// Guest physical address of the register window.
    public let base: UInt64
    /// Bytes in the window.
    public let size: UInt64
    /// Global system interrupt: on x86_64 an input of the I/O APIC, up to 15 also the ISA interrupt number; on aarch64 the number of a shared peripheral interrupt,
    /// 32 less than its INTID.
    public let gsi: UInt32
    /// The interrupt's wire, an edge each time.
    public let line: any InterruptLine

    /// For the kernel command line on x86_64 (Linux, Documentation/admin-guide/kernel-parameters.txt, virtio_mmio.device). Nil when the interrupt is not an ISA one: the word
    /// names a Linux interrupt number, which without ACPI is known to be the GSI only for those.
    public var virtioMMIOCommandLineWord: String? {
        gsi > 15 ? nil : "virtio_mmio.device=\(size)@0x\(hexDigits(base)):\(gsi)"
    }

    /// For the DSDT on x86_64; a device tree has `FDTBuilder.virtioMMIO`.
    public var acpiDevice: ACPIConfiguration.VirtioMMIODevice { .init(base: base, size: size, gsi: gsi) }
}

/// Why a device found no place.
public enum SysBusError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `limit`: how many devices fit.
    case interruptsExhausted(device: String, limit: Int)
    case addressesExhausted(device: String)
    case regionTooLarge(device: String)
    /// The machine has no port space.
    case noPorts(device: String)
    case interruptLine(device: String, HypervisorError)
    case addressSpace(device: String, AddressSpaceError)

    public var description: String {
        switch self {
        case .interruptsExhausted(let device, let limit): "no interrupt is left for device \(device): \(limit) devices fit"
        case .addressesExhausted(let device): "no MMIO address is left for device \(device): too many devices"
        case .regionTooLarge(let device): "the registers of device \(device) do not fit into its MMIO window"
        case .noPorts(let device): "device \(device) needs ports, which this machine does not have"
        case .interruptLine(let device, let error): "cannot connect the interrupt of device \(device): \(error)"
        case .addressSpace(let device, let error): "cannot place device \(device): \(error)"
        }
    }
}
