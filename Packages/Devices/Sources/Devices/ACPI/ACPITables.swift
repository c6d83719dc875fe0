/// Builds the ACPI tables of a microVM: RSDP, XSDT, FADT, MADT and DSDT, for NUMA nodes also SRAT and SLIT (ACPI 6.5), hardware-reduced, in one image.
///
/// StratoVirt has none for its microVM; without them a distribution kernel, built without virtio-mmio command line devices,
/// never finds a disk.
public enum ACPITables {
    /// The whole image, to be copied to `configuration.baseAddress`: RSDP first, every other table on a 16-byte boundary.
    ///
    /// Pure: no device is touched, any thread may call it.
    public static func build(_ configuration: ACPIConfiguration) throws(ACPIError) -> [UInt8] {
        let base = configuration.baseAddress
        guard (1...254).contains(configuration.apicIDs.count) else { throw .cpuCountOutOfRange(configuration.apicIDs.count) }
        for id in configuration.apicIDs where id > 254 { throw .apicIDOutOfRange(id) }
        guard base % 16 == 0, base < 0xFFF0_0000, (0...0x10_0000).contains(configuration.limit) else {
            throw .baseAddressInvalid(base)
        }
        for (index, device) in configuration.devices.enumerated() {
            let (end, overflow) = device.base.addingReportingOverflow(device.size)
            guard !overflow, end <= 0x1_0000_0000, device.size > 0 else { throw .deviceAbove4GiB(index: index) }
        }
        try checkNodes(configuration.nodes)

        var image = [UInt8](repeating: 0, count: rsdpSize)
        func place(_ table: [UInt8]) -> UInt64 {
            while image.count % 16 != 0 { image.append(0) }
            let address = base + UInt64(image.count)
            image += table
            return address
        }
        let dsdt = place(dsdt(configuration))
        let fadt = place(fadt(configuration, dsdt: dsdt))
        var listed = [fadt, place(madt(configuration))]
        if !configuration.nodes.isEmpty { listed += [place(srat(configuration.nodes)), place(slit(configuration.nodes))] }
        let xsdt = place(xsdt(listed))
        image.replaceSubrange(0..<rsdpSize, with: rsdp(xsdt: xsdt))
        guard image.count <= configuration.limit else {
            throw .imageTooLarge(size: image.count, limit: configuration.limit)
        }
        return image
    }

    // MARK: Headers and checksums

    static let rsdpSize = 36
    private static let oemID = Array("STRATO".utf8)

    /// RSDP, revision 2 (section 5.2.5.3): no RSDT, the XSDT alone.
    private static func rsdp(xsdt: UInt64) -> [UInt8] {
        var bytes = Array("RSD PTR ".utf8) + [0] + oemID + [2] + AML.littleEndian(0, 4)
        bytes[8] = checksum(bytes)
        bytes += AML.littleEndian(UInt64(rsdpSize), 4) + AML.littleEndian(xsdt, 8) + [0, 0, 0, 0]
        bytes[32] = checksum(bytes)
        return bytes
    }

    /// XSDT (section 5.2.8).
    private static func xsdt(_ tables: [UInt64]) -> [UInt8] {
        table("XSDT", revision: 1, tables.flatMap { AML.littleEndian($0, 8) })
    }

    /// A system description table: the common header (section 5.2.6), then `body`.
    static func table(_ signature: String, revision: UInt8, _ body: [UInt8]) -> [UInt8] {
        var bytes = Array(signature.utf8)
        bytes += AML.littleEndian(UInt64(36 + body.count), 4) + [revision, 0] + oemID
        bytes += Array("MICROVM ".utf8) + AML.littleEndian(1, 4) + Array("STRA".utf8) + AML.littleEndian(1, 4)
        bytes += body
        bytes[9] = checksum(bytes)
        return bytes
    }

    /// The byte that makes the sum of all bytes zero.
    private static func checksum(_ bytes: [UInt8]) -> UInt8 { 0 &- bytes.reduce(0, &+) }
}
