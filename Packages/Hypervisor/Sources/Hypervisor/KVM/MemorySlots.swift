/// A piece of guest memory in whole pages, as KVM takes it.
struct MemoryPiece: Equatable, Sendable {
    var base: UInt64
    /// A multiple of the page size, never 0.
    var size: UInt64
    var host: UInt64
    var readOnly: Bool

    var end: UInt64 { base &+ size }

    /// The whole pages inside a range of `size` bytes at `base`; nil when there are none. What is left over at the edges is reached by exits.
    /// Throws when host and guest address differ within a page, since no page table could then map them.
    init?(base: UInt64, size: UInt64, host: UInt64, readOnly: Bool, pageSize: UInt64) throws(MemorySlotError) {
        let mask = pageSize &- 1
        let (end, wraps) = base.addingReportingOverflow(size)
        guard !wraps else { throw .wraps(base: base) }
        let (roundedUp, overflow) = base.addingReportingOverflow(mask)
        let first = roundedUp & ~mask
        let last = end & ~mask
        guard !overflow, first < last else { return nil }
        guard base & mask == host & mask else { throw .misaligned(base: base) }
        self.base = first
        self.size = last &- first
        self.host = host &+ (first &- base)
        self.readOnly = readOnly
    }
}

enum MemorySlotError: Error, Equatable {
    case wraps(base: UInt64)
    case misaligned(base: UInt64)
    case overlaps(base: UInt64)
    case exhausted(limit: Int)

    /// What could not be done, to be followed by a colon and an errno's text.
    var operation: String {
        switch self {
        case .wraps(let base): "map guest memory at 0x\(String(base, radix: 16)), which wraps around"
        case .misaligned(let base): "map guest memory at 0x\(String(base, radix: 16)), which is not page aligned"
        case .overlaps(let base): "map guest memory at 0x\(String(base, radix: 16)), which overlaps other memory"
        case .exhausted(let limit): "map more than \(limit) pieces of guest memory"
        }
    }
}

/// Which memory slot holds which piece of guest memory. A value: a change is tried on a copy, and kept when the kernel has agreed.
struct MemorySlots: Sendable {
    struct Entry: Equatable, Sendable {
        var piece: MemoryPiece
        var slot: UInt32
    }

    /// KVM_CAP_NR_MEMSLOTS.
    let limit: Int
    /// Sorted by base, without overlap.
    private(set) var entries: [Entry] = []
    /// Slots below `next` that were given back.
    private var free: [UInt32] = []
    private var next: UInt32 = 0

    init(limit: Int) { self.limit = limit }

    /// Index of the first entry at or after `base`.
    private func index(from base: UInt64) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low &+ high) / 2
            if entries[middle].piece.base < base { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    mutating func add(_ piece: MemoryPiece) throws(MemorySlotError) -> Entry {
        let index = index(from: piece.base)
        if index < entries.count, entries[index].piece.base < piece.end { throw .overlaps(base: piece.base) }
        if index > 0, entries[index &- 1].piece.end > piece.base { throw .overlaps(base: piece.base) }
        let slot: UInt32
        if let used = free.popLast() {
            slot = used
        } else {
            guard Int(next) < limit else { throw .exhausted(limit: limit) }
            slot = next
            next &+= 1
        }
        let entry = Entry(piece: piece, slot: slot)
        entries.insert(entry, at: index)
        return entry
    }

    /// Gives back the slot of the piece at exactly `base`; nil when there is none.
    mutating func remove(base: UInt64) -> Entry? {
        let index = index(from: base)
        guard index < entries.count, entries[index].piece.base == base else { return nil }
        let entry = entries.remove(at: index)
        free.append(entry.slot)
        return entry
    }
}
