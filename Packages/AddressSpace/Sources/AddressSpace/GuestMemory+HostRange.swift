internal import CLinuxSys
internal import Glibc
public import LinuxSys

/// A piece of guest RAM in this process, checked: for an iovec, never to be read through. Two integers, so that nobody makes a
/// Span of bytes that the guest changes meanwhile. Good while the address space lives, even when the guest loses the RAM,
/// until `AddressSpace.releaseHiddenMemory`.
public struct HostRange: Sendable, Equatable {
    public let address: UInt
    /// Bytes, never 0.
    public let count: Int
}

extension GuestMemory {
    /// `count` bytes in one contiguous piece.
    public func hostRange(at gpa: UInt64, count: UInt64, for access: Access = .write) throws(GuestMemoryError) -> HostRange {
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        // A RAM piece is a part of a mapping, so its size fits Int.
        return HostRange(address: try locate(gpa, count, access), count: Int(truncatingIfNeeded: count))
    }

    /// Calls `body` for each contiguous piece, in order; all is checked before the first call. `body` may do anything, also block.
    public func forEachHostRange(
        at gpa: UInt64, count: UInt64, for access: Access = .write, _ body: (HostRange) throws(GuestMemoryError) -> Void
    ) throws(GuestMemoryError) {
        try validate(gpa, count, access)
        var done: UInt64 = 0
        while done < count {
            let piece = try pieceRange(gpa &+ done, count &- done, access)
            try body(piece)
            done &+= UInt64(piece.count)
        }
    }

    /// Reads `count` bytes of a file straight into guest RAM, without a copy on the way. Blocks. A file that ends early is an error;
    /// what was read until then stays.
    public func readFile(
        _ fd: borrowing OwnedFD, fileOffset: UInt64, count: UInt64, into gpa: UInt64
    ) throws(GuestMemoryError) {
        guard let start = Int64(exactly: fileOffset), let length = Int64(exactly: count),
            !start.addingReportingOverflow(length).overflow
        else { throw .tooLong(count: count) }
        try validate(gpa, count, .write)
        var done: UInt64 = 0
        while done < count {
            let piece = try pieceRange(gpa &+ done, count &- done, .write)
            // Linux moves at most 2 GiB a call and may stop early. SAFETY: the piece was checked and stays mapped, see HostRange.
            let result = unsafe sys_pread(
                fd.raw, RawMemory.pointer(piece.address), min(piece.count, 1 << 30), start &+ Int64(truncatingIfNeeded: done))
            if result == -Int(EINTR) { continue }
            guard result >= 0 else { throw .file(Errno(Int32(truncatingIfNeeded: 0 &- result))) }
            guard result > 0 else { throw .endOfFile }
            done &+= UInt64(result)
        }
    }

    private func pieceRange(_ gpa: UInt64, _ count: UInt64, _ access: Access) throws(GuestMemoryError) -> HostRange {
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let piece = try firstPiece(gpa, count, access)
        return HostRange(address: piece.address, count: Int(truncatingIfNeeded: piece.count))
    }
}
