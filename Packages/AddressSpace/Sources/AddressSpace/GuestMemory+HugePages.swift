internal import CAddressSpace

extension GuestMemory {
    /// From now on the host gives huge pages (2 MiB on x86) where it can for RAM that is this process's alone (MADV_HUGEPAGE): one fault and one entry of a table for
    /// what takes 512 else, and a disk's transfer is in one piece for the host's driver. What is resident already stays as it is until khugepaged comes by.
    ///
    /// Not an option of the mapping, because who loads a guest touches little here and there, and a huge page takes 0.1 ms to clear and 2 MiB. Hosts that give
    /// them always, or never, go on with that. Any thread; a call or two to the kernel.
    public func preferHugePages() {
        for piece in privatePieces() { _ = as_advise_huge_pages(piece.address, piece.length) }
    }

    /// As with a `HostRange`, they stay mapped until `AddressSpace.releaseHiddenMemory`.
    private func privatePieces() -> [(address: UInt, length: Int)] {
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let table = unsafe publisher.table
        return unsafe table.pointee.ram.compactMap { ram in
            guard ram.file < 0, ram.release == .discard else { return nil }
            // The piece is part of a mapping, which is much shorter than the address space.
            return (ram.host, Int(truncatingIfNeeded: ram.last &- ram.base &+ 1))
        }
    }
}
