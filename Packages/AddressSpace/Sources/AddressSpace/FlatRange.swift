/// A piece of an address space as the guest sees it: one region, priorities and aliases resolved.
public struct FlatRange: Sendable, Equatable {
    public enum Kind: Sendable {
        /// Host memory; `readOnly` says whether guest writes are dropped.
        case ram
        /// A device answers reads and writes.
        case io
        /// Host memory answers reads, a device takes the writes (a ROM device that was switched to I/O is `.io`).
        case romDevice
        /// A device's own memory, mapped for the guest but never a target of DMA.
        case ramDevice
    }

    /// First guest physical address (or port).
    public let base: UInt64
    /// Bytes, never 0; `base + size` does not wrap.
    public let size: UInt64
    public let kind: Kind
    /// Where the first byte is in this process; 0 for `.io`.
    public let hostAddress: UInt
    /// The guest's writes do not go to the memory: true for ROM devices and read-only RAM.
    public let readOnly: Bool
    public let region: Region
    /// Which byte of `region` is at `base`.
    public let offsetInRegion: UInt64

    /// Exclusive.
    public var end: UInt64 { base &+ size }

    init(region: Region, kind: Kind, offset: UInt64, base: UInt64, size: UInt64) {
        self.region = region
        self.kind = kind
        self.base = base
        self.size = size
        offsetInRegion = offset
        readOnly = kind == .romDevice || region.isReadOnly
        if kind != .io, let memory = region.memory {
            // Region's factories checked that memoryOffset + size lies inside the mapping.
            hostAddress = memory.address &+ UInt(truncatingIfNeeded: region.memoryOffset &+ offset)
        } else {
            hostAddress = 0
        }
    }

    public static func == (a: FlatRange, b: FlatRange) -> Bool {
        a.base == b.base && a.size == b.size && a.kind == b.kind && a.region === b.region
            && a.offsetInRegion == b.offsetInRegion && a.readOnly == b.readOnly
    }

    /// The two as one, when `next` goes on exactly where this range stops.
    func joined(with next: FlatRange) -> FlatRange? {
        guard region === next.region, kind == next.kind, end == next.base,
            offsetInRegion &+ size == next.offsetInRegion
        else { return nil }
        return FlatRange(region: region, kind: kind, offset: offsetInRegion, base: base, size: size &+ next.size)
    }
}
