/// The header of a request (virtio 1.2, section 5.2.6), copied from guest memory.
struct BlockRequestHeader {
    static let size: UInt64 = 16

    enum Kind: UInt32 {
        case read = 0
        case write = 1
        case flush = 4
        case identify = 8
        case discard = 11
        case writeZeroes = 13
    }

    /// Nil for a type that the device does not know.
    let kind: Kind?
    /// In units of 512 bytes.
    let sector: UInt64

    /// Nil when the chain has no room for a header.
    init?(_ chain: DescriptorChain) {
        guard let type = chain.readInteger(UInt32.self, at: 0), let sector = chain.readInteger(UInt64.self, at: 8) else { return nil }
        kind = Kind(rawValue: type)
        self.sector = sector
    }
}

/// One range of a discard or write zeroes request.
struct BlockRangeSegment {
    static let size: UInt64 = 16
    private static let unmapFlag: UInt32 = 1

    let sector: UInt64
    let sectorCount: UInt32
    let mayUnmap: Bool
    let hasUnknownFlags: Bool

    /// Reads the segment that follows the header.
    init?(_ chain: DescriptorChain) {
        let start = BlockRequestHeader.size
        guard let sector = chain.readInteger(UInt64.self, at: start), let count = chain.readInteger(UInt32.self, at: start + 8),
            let flags = chain.readInteger(UInt32.self, at: start + 12)
        else { return nil }
        self.sector = sector
        sectorCount = count
        mayUnmap = flags & Self.unmapFlag != 0
        hasUnknownFlags = flags & ~Self.unmapFlag != 0
    }
}

/// The last byte of a request.
enum BlockStatus {
    static let ok: UInt8 = 0
    static let ioError: UInt8 = 1
    static let unsupported: UInt8 = 2
}

/// Sectors as the protocol counts them, whatever the host's block size.
enum BlockSector {
    static let size: UInt64 = 512
    static let shift: UInt64 = 9

    /// Byte offset of `count` sectors from `start`, when they lie on a disk of `capacity` sectors.
    static func offset(of start: UInt64, count: UInt64, capacity: UInt64) -> UInt64? {
        // Subtraction form: `start + count` may wrap.
        guard start <= capacity, count <= capacity &- start, start <= UInt64(Int64.max) >> shift else { return nil }
        return start &<< shift
    }
}
