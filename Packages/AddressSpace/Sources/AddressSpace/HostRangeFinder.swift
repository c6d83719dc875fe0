internal import Synchronization

/// Finds what `GuestMemory.hostRange` finds, and remembers the piece of RAM that it found last: most buffers of a driver lie in one, and as long as the guest's
/// address space has not changed they are found by comparing, without a section. One thread at a time.
///
/// What it remembers is only compared with, and only while the view is the one that it was found in: RAM that the guest loses is refused by the first lookup after
/// that, before `AddressSpace.releaseHiddenMemory` could unmap it.
public final class HostRangeFinder {
    private let memory: GuestMemory
    private let publisher: ViewPublisher
    // The piece, and the view that it was found in; a view that is none has no piece.
    private var generation: UInt64 = 0
    private var base: UInt64 = 0
    private var last: UInt64 = 0
    private var host: UInt = 0
    private var isReadOnly = true

    public init(_ memory: GuestMemory) {
        self.memory = memory
        publisher = memory.publisher
    }

    /// `count` bytes in one contiguous piece; as good, and as long, as what `GuestMemory.hostRange` gives.
    public func hostRange(at gpa: UInt64, count: UInt64, for access: GuestMemory.Access = .write) throws(GuestMemoryError) -> HostRange {
        // A view that is published meanwhile comes too late for this lookup, as it does for one in the view itself.
        if publisher.generation.load(ordering: .acquiring) == generation, let range = remembered(gpa, count, access) { return range }
        return try find(gpa, count, access)
    }

    @inline(__always)
    private func remembered(_ gpa: UInt64, _ count: UInt64, _ access: GuestMemory.Access) -> HostRange? {
        guard gpa >= base, gpa <= last, count &- 1 <= last &- gpa, count > 0, access == .read || !isReadOnly else { return nil }
        return HostRange(address: host &+ UInt(truncatingIfNeeded: gpa &- base), count: Int(truncatingIfNeeded: count))
    }

    /// What is wrong with a range that is not found is the memory's to say.
    @inline(never)
    private func find(_ gpa: UInt64, _ count: UInt64, _ access: GuestMemory.Access) throws(GuestMemoryError) -> HostRange {
        // Before the view is looked at: a piece of an older view is never kept under a newer one's number.
        let generation = publisher.generation.load(ordering: .acquiring)
        if let ram = memory.ramPiece(at: gpa) {
            self.generation = generation
            base = ram.base
            last = ram.last
            host = ram.host
            isReadOnly = ram.readOnly
            if let range = remembered(gpa, count, access) { return range }
        }
        return try memory.hostRange(at: gpa, count: count, for: access)
    }
}
