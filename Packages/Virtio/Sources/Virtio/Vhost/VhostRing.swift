public import AddressSpace

/// The three parts of a split ring in this process (virtio 1.2, section 2.7), for whoever serves the queue instead of it.
public struct VhostRing: Equatable, Sendable {
    /// Entries.
    public let size: UInt32
    public let descriptors: UInt
    public let available: UInt
    public let used: UInt

    /// Finds and checks the parts anew: who gets these addresses writes there without asking (the CVE-2019-14835 class), so they depend on no
    /// earlier check.
    public init(_ configuration: QueueConfiguration, memory: GuestMemory) throws(QueueFault) {
        let entries = UInt64(configuration.size)
        guard entries > 0, entries <= 32768, entries & (entries &- 1) == 0 else { throw .badSize(configuration.size) }
        size = configuration.size
        descriptors = try Self.address(configuration.descriptorTable, 16 &* entries, alignment: 16, .read, memory)
        available = try Self.address(configuration.availableRing, 6 &+ 2 &* entries, alignment: 2, .read, memory)
        used = try Self.address(configuration.usedRing, 6 &+ 8 &* entries, alignment: 4, .write, memory)
    }

    private static func address(
        _ gpa: UInt64, _ count: UInt64, alignment: UInt, _ access: GuestMemory.Access, _ memory: GuestMemory
    ) throws(QueueFault) -> UInt {
        let range: HostRange
        do { range = try memory.hostRange(at: gpa, count: count, for: access) } catch { throw .ringOutsideRAM }
        guard range.address % alignment == 0, gpa % UInt64(alignment) == 0 else { throw .misalignedRing }
        return range.address
    }
}
