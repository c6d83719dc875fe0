/// Resource descriptors (ACPI 6.5 section 6.4) and the ResourceTemplate that holds them.
extension AML {
    /// A ResourceTemplate: the descriptors, then an end tag whose checksum 0 means "assume correct" (section 6.4.2.9).
    static func resourceTemplate(_ descriptors: [[UInt8]]) -> [UInt8] {
        buffer(descriptors.flatMap { $0 } + [0x79, 0x00])
    }

    /// IO (Decode16, base, base, 1, length): section 6.4.2.5.
    static func io(_ base: UInt16, length: UInt8) -> [UInt8] {
        [0x47, 0x01] + littleEndian(UInt64(base), 2) + littleEndian(UInt64(base), 2) + [0x01, length]
    }

    /// Memory32Fixed (ReadWrite, base, length): section 6.4.3.4.
    static func memory32Fixed(_ base: UInt32, length: UInt32) -> [UInt8] {
        [0x86, 0x09, 0x00, 0x01] + littleEndian(UInt64(base), 4) + littleEndian(UInt64(length), 4)
    }

    /// Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi }: section 6.4.3.6. Every interrupt of the machine is
    /// an edge, because each is an irqfd.
    static func edgeInterrupt(_ gsi: UInt32) -> [UInt8] {
        [0x89, 0x06, 0x00, 0x03, 0x01] + littleEndian(UInt64(gsi), 4)
    }
}
