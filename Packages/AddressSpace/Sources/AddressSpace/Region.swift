/// A node of the region tree: what answers at some guest physical addresses or ports.
///
/// Any thread may use any method: the tree is guarded by one process-wide lock (`Topology`), and what vCPUs
/// read is an immutable flat view. A change to a region that an address space shows is a transaction by itself;
/// `AddressSpace.transaction` makes several changes one.
public final class Region: @unchecked Sendable {
    public enum Kind: Sendable { case ram, io, container, romDevice, ramDevice, alias }

    struct Child {
        let region: Region
        let offset: UInt64
        let priority: Int32
    }

    /// For messages and debugging.
    public let name: String
    /// Bytes (or ports).
    public let size: UInt64
    public let kind: Kind
    /// What answers reads of RAM, RAM devices and ROM devices.
    public let memory: HostMemory?
    /// Which byte of `memory` is the region's first.
    public let memoryOffset: UInt64
    /// RAM that the guest and DMA may only read.
    public let isReadOnly: Bool
    let ops: (any RegionOps)?
    /// Larger accesses are split: 1, 2, 4 or 8.
    let maxAccessSize: UInt8
    let target: Region?
    let targetOffset: UInt64

    // All below: guarded by Topology.

    /// Highest priority first, among equals the later added first.
    var children: [Child] = []
    var ioEventFDs: [IOEventFD] = []  // addresses relative to the region
    var romMode = true
    weak var parent: Region?
    /// The address space whose root this is.
    weak var space: AddressSpace?
    var aliases: [WeakRegion] = []

    struct WeakRegion { weak var region: Region? }

    init(
        name: String, size: UInt64, kind: Kind, memory: HostMemory? = nil, memoryOffset: UInt64 = 0, isReadOnly: Bool = false,
        ops: (any RegionOps)? = nil, maxAccessSize: UInt8 = 8, target: Region? = nil, targetOffset: UInt64 = 0
    ) {
        self.name = name
        self.size = size
        self.kind = kind
        self.memory = memory
        self.memoryOffset = memoryOffset
        self.isReadOnly = isReadOnly
        self.ops = ops
        self.maxAccessSize = maxAccessSize
        self.target = target
        self.targetOffset = targetOffset
    }
}

extension Region {
    /// `size` bytes of `memory` from `memoryOffset` on. Read-only RAM drops the guest's writes.
    public static func ram(
        name: String, size: UInt64, memory: HostMemory, memoryOffset: UInt64 = 0, readOnly: Bool = false
    ) throws(AddressSpaceError) -> Region {
        try check(name, size, inside: memory, at: memoryOffset)
        return Region(name: name, size: size, kind: .ram, memory: memory, memoryOffset: memoryOffset, isReadOnly: readOnly)
    }

    /// Device registers. Accesses wider than `maxAccessSize` (1, 2, 4 or 8) reach the device in pieces, lowest address first.
    public static func io(
        name: String, size: UInt64, ops: any RegionOps, maxAccessSize: Int = 8
    ) throws(AddressSpaceError) -> Region {
        guard size > 0 else { throw .zeroSize(name) }
        return Region(name: name, size: size, kind: .io, ops: ops, maxAccessSize: try accessSize(maxAccessSize, name))
    }

    /// Room for other regions; what no child covers belongs to whatever lies below the container.
    public static func container(name: String, size: UInt64) throws(AddressSpaceError) -> Region {
        guard size > 0 else { throw .zeroSize(name) }
        return Region(name: name, size: size, kind: .container)
    }

    /// Memory answers reads and `ops` gets the writes (flash); see `setROMMode`.
    public static func romDevice(
        name: String, size: UInt64, memory: HostMemory, memoryOffset: UInt64 = 0, ops: any RegionOps, maxAccessSize: Int = 8
    ) throws(AddressSpaceError) -> Region {
        try check(name, size, inside: memory, at: memoryOffset)
        return Region(
            name: name, size: size, kind: .romDevice, memory: memory, memoryOffset: memoryOffset, ops: ops,
            maxAccessSize: try accessSize(maxAccessSize, name))
    }

    /// Memory of a device (a PCI BAR mapped from VFIO): the guest maps it, DMA never goes there.
    public static func ramDevice(
        name: String, size: UInt64, memory: HostMemory, memoryOffset: UInt64 = 0, readOnly: Bool = false
    ) throws(AddressSpaceError) -> Region {
        try check(name, size, inside: memory, at: memoryOffset)
        return Region(name: name, size: size, kind: .ramDevice, memory: memory, memoryOffset: memoryOffset, isReadOnly: readOnly)
    }

    /// A window on `size` bytes of `target` from `offset` on; what lies beyond the target's end shows nothing.
    public static func alias(
        name: String, of target: Region, offset: UInt64 = 0, size: UInt64
    ) throws(AddressSpaceError) -> Region {
        guard size > 0 else { throw .zeroSize(name) }
        guard !offset.addingReportingOverflow(size).overflow else { throw .overflow(name) }
        let alias = Region(name: name, size: size, kind: .alias, target: target, targetOffset: offset)
        Topology.shared.locked {
            target.aliases.removeAll { $0.region == nil }
            target.aliases.append(WeakRegion(region: alias))
        }
        return alias
    }

    private static func check(
        _ name: String, _ size: UInt64, inside memory: HostMemory, at offset: UInt64
    ) throws(AddressSpaceError) {
        guard size > 0 else { throw .zeroSize(name) }
        guard offset <= memory.size, size <= memory.size &- offset else { throw .outsideHostMemory(name) }
    }

    private static func accessSize(_ size: Int, _ name: String) throws(AddressSpaceError) -> UInt8 {
        guard size == 1 || size == 2 || size == 4 || size == 8 else { throw .badAccessSize(name, size) }
        return UInt8(truncatingIfNeeded: size)
    }
}
