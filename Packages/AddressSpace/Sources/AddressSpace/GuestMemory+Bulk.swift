/// Many bytes at once. The whole range is checked before the first byte moves, and may go over several adjacent RAM regions.
extension GuestMemory {
    /// A view is held for one such piece of copying, so that a large copy never holds up a commit.
    private static let chunk: UInt64 = 1 << 20

    /// Fills all of `bytes` from guest RAM. The copy is the caller's: check and use that, never look twice.
    public func read(at gpa: UInt64, into bytes: inout MutableRawSpan) throws(GuestMemoryError) {
        try unsafe bytes.withUnsafeMutableBytes { (target) throws(GuestMemoryError) in try unsafe read(at: gpa, into: target) }
    }

    /// Fills all elements of `bytes` from guest RAM.
    public func read(at gpa: UInt64, into bytes: inout [UInt8]) throws(GuestMemoryError) {
        var span = bytes.mutableSpan
        try unsafe span.withUnsafeMutableBytes { (target) throws(GuestMemoryError) in try unsafe read(at: gpa, into: target) }
    }

    private func read(at gpa: UInt64, into target: UnsafeMutableRawBufferPointer) throws(GuestMemoryError) {
        let total = UInt64(target.count)
        try validate(gpa, total, .read)
        try pieces(gpa, total, .read) { address, done, count in
            // SAFETY: pieces gives count bytes that are mapped meanwhile, done + count <= target.count.
            unsafe (target.baseAddress.unsafelyUnwrapped + done).copyMemory(from: RawMemory.pointer(address), byteCount: count)
        }
    }

    /// A copy of `count` bytes, at most `limit`: a guest's length must not size an allocation.
    public func bytes(at gpa: UInt64, count: UInt64, limit: UInt64 = 64 << 10) throws(GuestMemoryError) -> [UInt8] {
        guard count <= limit, let size = Int(exactly: count) else { throw .tooLong(count: count) }
        try validate(gpa, count, .read)
        var copy = [UInt8](repeating: 0, count: size)
        try read(at: gpa, into: &copy)
        return copy
    }

    public func write(at gpa: UInt64, bytes: RawSpan) throws(GuestMemoryError) {
        try unsafe bytes.withUnsafeBytes { (source) throws(GuestMemoryError) in try unsafe write(at: gpa, source) }
    }

    public func write(at gpa: UInt64, bytes: [UInt8]) throws(GuestMemoryError) {
        try unsafe bytes.span.withUnsafeBytes { (source) throws(GuestMemoryError) in try unsafe write(at: gpa, source) }
    }

    private func write(at gpa: UInt64, _ source: UnsafeRawBufferPointer) throws(GuestMemoryError) {
        let total = UInt64(source.count)
        try validate(gpa, total, .write)
        try pieces(gpa, total, .write) { address, done, count in
            // SAFETY: as in read.
            unsafe RawMemory.pointer(address).copyMemory(from: source.baseAddress.unsafelyUnwrapped + done, byteCount: count)
        }
    }

    /// Sets `count` bytes to `byte`.
    public func fill(at gpa: UInt64, count: UInt64, byte: UInt8 = 0) throws(GuestMemoryError) {
        try validate(gpa, count, .write)
        try pieces(gpa, count, .write) { address, _, count in
            // SAFETY: as in read.
            _ = unsafe RawMemory.pointer(address).initializeMemory(as: UInt8.self, repeating: byte, count: count)
        }
    }

    /// Calls `body` with host address, bytes done and bytes now, inside a section. A view that changes between two pieces
    /// is met by checking each piece again.
    private func pieces(
        _ gpa: UInt64, _ total: UInt64, _ access: Access, _ body: (UInt, Int, Int) -> Void
    ) throws(GuestMemoryError) {
        var done: UInt64 = 0
        while done < total {
            let ticket = publisher.gate.enter()
            defer { publisher.gate.leave(ticket) }
            // gpa + done does not wrap: validate saw that gpa + total - 1 does not.
            let piece = try firstPiece(gpa &+ done, total &- done, access, limit: GuestMemory.chunk)
            body(piece.address, Int(truncatingIfNeeded: done), Int(truncatingIfNeeded: piece.count))
            done &+= piece.count
        }
    }
}
