internal import BootCommon

/// One line of the memory map that the kernel is told (e820 types; PVH uses the same numbers).
public struct MemoryMapEntry: Equatable, Sendable {
    public enum Kind: UInt32, Sendable {
        case ram = 1
        case reserved = 2
        /// ACPI tables: not for the page allocator, readable by ACPI.
        case acpi = 3
    }

    public let start: UInt64
    /// In bytes, never 0.
    public let size: UInt64
    public let kind: Kind

    public init(start: UInt64, size: UInt64, kind: Kind) {
        self.start = start
        self.size = size
        self.kind = kind
    }
}

extension X86MemoryLayout {
    /// The map in ascending order, 5 or 6 entries at most. With `acpiTables` the top 128 KiB below 1 MiB are of kind
    /// `acpi`, otherwise reserved like the rest of the firmware area.
    public func memoryMap(acpiTables: Bool) -> [MemoryMapEntry] {
        var map: [MemoryMapEntry] = []
        map.reserveCapacity(6)
        func add(_ start: UInt64, _ end: UInt64, _ kind: MemoryMapEntry.Kind) {
            map.append(MemoryMapEntry(start: start, size: end &- start, kind: kind))
        }
        add(0, Self.ebda, .ram)
        add(Self.ebda, Self.ebdaEnd, .reserved)
        if acpiTables {
            add(Self.firmware, Self.acpi, .reserved)
            add(Self.acpi, Self.highMemory, .acpi)
        } else {
            add(Self.firmware, Self.highMemory, .reserved)
        }
        add(Self.highMemory, lowRAMEnd, .ram)
        if let highRAM { add(highRAM.start, highRAM.end, .ram) }
        return map
    }
}
