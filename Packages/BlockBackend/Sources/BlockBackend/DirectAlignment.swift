internal import CLiburing
internal import Glibc
internal import LinuxSys

/// What O_DIRECT demands of a file, in bytes, both powers of two (open(2), section O_DIRECT).
struct DirectAlignment: Equatable {
    /// Of each buffer's address.
    var memory: UInt64
    /// Of offsets and of each buffer's length.
    var offset: UInt64

    /// The largest alignment served; bounce buffers hold at least one such block.
    static let limit: UInt64 = 64 << 10

    /// Finds the alignment: statx(2) tells since Linux 6.1, BLKSSZGET for block devices before, and else reads are tried.
    /// nil when the file takes no direct I/O at all, or wants more than `limit`.
    static func find(_ file: borrowing OwnedFD, sectorSize: UInt32?) -> DirectAlignment? {
        var known: UInt32 = 0
        var memory: UInt32 = 0
        var offset: UInt32 = 0
        // SAFETY: the shim writes the three integers during the call and keeps no pointer.
        if unsafe block_direct_alignment(file.raw, &known, &memory, &offset) == 0, known != 0 {
            return DirectAlignment(memory: UInt64(memory), offset: UInt64(offset)).checked
        }
        if let sectorSize { return DirectAlignment(memory: UInt64(sectorSize), offset: UInt64(sectorSize)).checked }
        return probe(file)
    }

    private var checked: DirectAlignment? {
        let powers = memory.nonzeroBitCount == 1 && offset.nonzeroBitCount == 1
        return powers && memory <= Self.limit && offset <= Self.limit ? self : nil
    }

    /// The smallest of the usual block sizes whose read is not refused. The address is then aligned as strictly as the offset,
    /// which every file system accepts.
    private static func probe(_ file: borrowing OwnedFD) -> DirectAlignment? {
        let memory: MemoryMapping
        do { memory = try MemoryMapping.anonymous(size: 4096) } catch { return nil }
        for size in [512, 1024, 2048, 4096] {
            // The address is made exactly as aligned as the length, or a stricter demand on addresses would be missed.
            let start = 4096 - size
            // SAFETY: start + size is the mapping's 4096 bytes, and the mapping lives until the function returns.
            if unsafe PositionalIO.read(file.raw, into: memory.base + start, count: size, at: UInt64(size)) >= 0 {
                return DirectAlignment(memory: UInt64(size), offset: UInt64(size))
            }
        }
        return nil
    }

    @inline(__always) func isOffsetAligned(_ value: UInt64) -> Bool { value & (offset &- 1) == 0 }
    @inline(__always) func down(_ value: UInt64) -> UInt64 { value & ~(offset &- 1) }
    /// The caller's values are at most a file size, far from overflow.
    @inline(__always) func up(_ value: UInt64) -> UInt64 { (value &+ (offset &- 1)) & ~(offset &- 1) }
}
