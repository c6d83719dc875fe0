internal import BootCommon

/// The tables of Intel's MultiProcessor Specification 1.4, for kernels that have no ACPI: processors, one ISA bus, one
/// I/O APIC and its identity-mapped ISA interrupts.
public struct MPTable: Equatable, Sendable {
    /// Local APIC ids are 8 bits, 255 is the broadcast, and the I/O APIC takes one id.
    public static let maximumCPUs = 254

    private static let localAPICAddress: UInt32 = 0xfee0_0000
    private static let ioAPICAddress: UInt32 = 0xfec0_0000
    private static let localAPICVersion: UInt8 = 0x14
    /// What the version register of KVM's I/O APIC says.
    private static let ioAPICVersion: UInt8 = 0x11
    private static let isaInterrupts: UInt8 = 16
    private static let floatingPointerSize = 16
    private static let headerSize = 44

    /// 16 bytes for the start of the EBDA, where Linux scans for `_MP_`.
    public let floatingPointer: [UInt8]
    public let configuration: [UInt8]
    /// Behind the floating pointer while it fits the EBDA's KiB (40 CPUs), else at 0xd0000, which the memory map
    /// reserves too. The specification lets the floating pointer name any reserved address.
    public let configurationAddress: UInt64

    /// - Parameter apicIDs: of the present CPUs, 1...254 different ids up to 254; the first is the bootstrap processor's.
    public init(apicIDs: [UInt32]) throws(X86BootPlanError) {
        guard 1...Self.maximumCPUs ~= apicIDs.count else { throw .cpuCount(apicIDs.count) }
        var ids: [UInt8] = []
        for apicID in apicIDs {
            guard let id = UInt8(exactly: apicID), id != 0xff, !ids.contains(id) else { throw .apicID(apicID) }
            ids.append(id)
        }
        configuration = Self.configuration(ids)
        let behindPointer = X86MemoryLayout.ebda + UInt64(Self.floatingPointerSize)
        let fits = UInt64(configuration.count) <= X86MemoryLayout.ebdaEnd - behindPointer
        configurationAddress = fits ? behindPointer : X86MemoryLayout.firmware
        floatingPointer = Self.floatingPointer(to: UInt32(truncatingIfNeeded: configurationAddress))
    }

    /// Specification section 4.1.
    private static func floatingPointer(to configuration: UInt32) -> [UInt8] {
        var image = ByteImage(count: floatingPointerSize)
        image.store(UInt32(0x5f50_4d5f), at: 0)  // "_MP_"
        image.store(configuration, at: 4)
        image.store(UInt8(1), at: 8)  // length in units of 16 bytes
        image.store(UInt8(4), at: 9)  // specification 1.4
        image.storeChecksum(at: 10, over: 0..<floatingPointerSize)
        return image.bytes
    }

    /// Section 4.2 (header) and 4.3 (entries, in ascending order of type).
    private static func configuration(_ ids: [UInt8]) -> [UInt8] {
        let cpuCount = UInt8(truncatingIfNeeded: ids.count)
        // Ids with gaps can reach the usual one; the one behind the highest is then free.
        let ioAPIC = ids.contains(cpuCount &+ 1) ? (ids.max() ?? 0) &+ 1 : cpuCount &+ 1
        var image = ByteImage(reserving: headerSize + 20 * ids.count + 8 * 20)
        image.append("PCMP")
        image.append(UInt16(0))  // length, below
        image.append(UInt8(4))  // specification 1.4
        image.append(UInt8(0))  // checksum, below
        image.append("STRATO  ")
        image.append("1.0         ")
        image.append(UInt32(0))  // no OEM table
        image.append(UInt16(0))
        image.append(UInt16(cpuCount) + 1 + 1 + UInt16(isaInterrupts) + 2)
        image.append(localAPICAddress)
        image.append(UInt32(0))  // no extended table

        for (index, id) in ids.enumerated() { appendProcessor(id, isBootstrap: index == 0, to: &image) }
        image.append([1, 0])  // bus 0
        image.append("ISA   ")
        image.append([2, ioAPIC, ioAPICVersion, 1])  // enabled
        image.append(ioAPICAddress)
        for line in 0..<isaInterrupts {
            appendInterrupt(type: 3, kind: .vectored, line: line, to: ioAPIC, pin: line, in: &image)
        }
        appendInterrupt(type: 4, kind: .external, line: 0, to: 0, pin: 0, in: &image)
        appendInterrupt(type: 4, kind: .nonMaskable, line: 0, to: 0xff, pin: 1, in: &image)

        image.store(UInt16(truncatingIfNeeded: image.bytes.count), at: 4)
        image.storeChecksum(at: 7, over: 0..<image.bytes.count)
        return image.bytes
    }

    private static func appendProcessor(_ id: UInt8, isBootstrap: Bool, to image: inout ByteImage) {
        let enabled: UInt8 = 1
        let bootstrap: UInt8 = 2
        image.append([0, id, localAPICVersion, isBootstrap ? enabled | bootstrap : enabled])
        image.append(UInt32(0x600))  // signature: family 6
        image.append(UInt32(0x201))  // features: FPU, APIC
        image.append(UInt64(0))
    }

    private enum InterruptKind: UInt8 {
        case vectored = 0
        case nonMaskable = 1
        case external = 3
    }

    /// Polarity and trigger mode conform to the bus (flags 0), source bus 0.
    private static func appendInterrupt(
        type: UInt8, kind: InterruptKind, line: UInt8, to apic: UInt8, pin: UInt8, in image: inout ByteImage
    ) {
        image.append([type, kind.rawValue, 0, 0, 0, line, apic, pin])
    }
}
