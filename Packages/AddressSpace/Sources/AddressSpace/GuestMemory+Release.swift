internal import CAddressSpace
internal import LinuxSys

/// Memory that the guest does not need for now goes back to the host; the guest's address space stays as it is.
///
/// The bytes read zeros afterwards, for the guest, for this process and for whoever shares the memory, and each page comes back, zeroed, when somebody touches
/// it. The mappings stay, so I/O in flight, the kernel's vhost and vhost-user back ends lose nothing but the content.
///
/// Only whole pages of the host go (4 KiB, 64 KiB on some aarch64 kernels, hugetlbfs's size there): what a range has of a page at its ends keeps its
/// content. A private mapping of a file is left as it is, unless the file is known to hold zeros (`HostMemory.Options.zeroFile`): its old bytes would show.
///
/// Any thread. Takes time in proportion to the resident pages, of the order of 0.1 ms a MiB: a guest's wish is best served in pieces.
extension GuestMemory {
    /// Gives `count` bytes from `gpa` on back, and says how many of them went; pages that nobody ever touched count too. All of it must be writable RAM, in
    /// however many pieces; nothing has happened when it is not. When the host refuses (`GuestMemoryError.release`), pieces before the one at fault are gone.
    @discardableResult
    public func release(at gpa: UInt64, count: UInt64) throws(GuestMemoryError) -> UInt64 {
        try validate(gpa, count, .write)
        var done: UInt64 = 0
        var released: UInt64 = 0
        while done < count {
            // gpa + done does not wrap: validate saw that gpa + count - 1 does not.
            let piece = try releasable(at: gpa &+ done, count &- done)
            released &+= try piece.release()
            done &+= piece.count
        }
        return released
    }

    /// The same of `count` bytes by their address in this process: a piece that `hostRange` gave, or a part of it. What is not one piece of writable RAM is
    /// refused (`notRAM`, with that address).
    @discardableResult
    public func release(hostAddress address: UInt, count: Int) throws(GuestMemoryError) -> UInt64 {
        guard let piece = releasable(hostAddress: address, count: count) else { throw .notRAM(address: UInt64(address)) }
        return try piece.release()
    }

    /// A piece of one mapping; looked up inside a section and used outside of it, since the host may take its time. As with a `HostRange`, it
    /// stays mapped until `AddressSpace.releaseHiddenMemory`.
    private struct Releasable {
        let address: UInt
        let count: UInt64
        let method: HostMemory.Release
        let pageSize: UInt

        /// Bytes that went.
        func release() throws(GuestMemoryError) -> UInt64 {
            let mask = pageSize &- 1
            // The piece is part of a mapping and what mmap gives ends far below the top of the address space.
            let start = (address &+ mask) & ~mask
            let end = (address &+ UInt(truncatingIfNeeded: count)) & ~mask
            guard end > start else { return 0 }
            let length = Int(bitPattern: end &- start)
            let result: Int
            switch method {
            case .none: return 0
            case .discard: result = as_discard(start, length)
            case .punchHole: result = as_punch_hole(start, length)
            }
            guard result == 0 else { throw .release(Errno(Int32(truncatingIfNeeded: 0 &- result))) }
            return UInt64(end &- start)
        }
    }

    private func releasable(at gpa: UInt64, _ count: UInt64) throws(GuestMemoryError) -> Releasable {
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        // The view may have changed since the range was validated.
        let piece = try firstPiece(gpa, count, .write)
        let table = unsafe publisher.table
        guard let index = unsafe table.pointee.ramIndex(at: gpa) else { throw .notRAM(address: gpa) }
        // SAFETY: ramIndex returns indices inside ram.
        let ram = unsafe table.pointee.ram.baseAddress.unsafelyUnwrapped + index
        return unsafe Releasable(address: piece.address, count: piece.count, method: ram.pointee.release, pageSize: ram.pointee.pageSize)
    }

    private func releasable(hostAddress address: UInt, count: Int) -> Releasable? {
        guard count > 0 else { return nil }
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let table = unsafe publisher.table
        // By host address nothing is sorted; there are a handful of pieces.
        for index in unsafe 0..<table.pointee.ram.count {
            let ram = unsafe table.pointee.ram[index]
            let size = ram.last &- ram.base
            guard address >= ram.host, UInt64(address &- ram.host) <= size else { continue }
            let skip = UInt64(address &- ram.host)
            guard !ram.readOnly, UInt64(count &- 1) <= size &- skip else { return nil }
            return Releasable(address: address, count: UInt64(count), method: ram.release, pageSize: ram.pageSize)
        }
        return nil
    }
}
