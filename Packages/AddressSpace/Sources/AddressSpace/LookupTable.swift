internal import LinuxSys

/// A flat view as readers use it: three sorted arrays in plain memory, so that a lookup counts no references.
/// Owned by a FlatView; valid inside a `ReaderGate` section only.
@unsafe
struct LookupTable {
    struct Entry {
        let base: UInt64
        let last: UInt64
        let offset: UInt64
        let host: UInt
        let kind: FlatRange.Kind
        let readOnly: Bool
        let maxAccessSize: UInt8
        let ops: (any RegionOps)?
    }

    /// RAM that is contiguous for the guest and in this process. Writable and read-only RAM are never one entry.
    struct RAM {
        let base: UInt64
        var last: UInt64
        let host: UInt
        let readOnly: Bool
        /// The shared file behind it, or -1, and which byte of the file `base` shows.
        let file: Int32
        let fileOffset: UInt64
        /// How pages are given back, and how large they are.
        let release: HostMemory.Release
        let pageSize: UInt
    }

    let entries: UnsafeMutableBufferPointer<Entry>
    let ram: UnsafeMutableBufferPointer<RAM>
    let events: UnsafeMutableBufferPointer<IOEventFD>

    init(ranges: [FlatRange], ioEventFDs: [IOEventFD]) {
        unsafe entries = LookupTable.copy(
            ranges.map {
                Entry(
                    base: $0.base, last: $0.base &+ ($0.size &- 1), offset: $0.offsetInRegion, host: $0.hostAddress,
                    kind: $0.kind, readOnly: $0.readOnly, maxAccessSize: $0.region.maxAccessSize, ops: $0.region.ops)
            })
        unsafe ram = LookupTable.copy(LookupTable.ram(of: ranges))
        unsafe events = LookupTable.copy(ioEventFDs)
    }

    func destroy() {
        unsafe entries.deinitialize()
        unsafe entries.deallocate()
        unsafe ram.deinitialize()
        unsafe ram.deallocate()
        unsafe events.deinitialize()
        unsafe events.deallocate()
    }

    private static func copy<T>(_ array: [T]) -> UnsafeMutableBufferPointer<T> {
        let buffer = UnsafeMutableBufferPointer<T>.allocate(capacity: array.count)
        _ = unsafe buffer.initialize(fromContentsOf: array)
        return unsafe buffer
    }

    private static func ram(of ranges: [FlatRange]) -> [RAM] {
        var found: [RAM] = []
        var memory: HostMemory?
        for range in ranges where range.kind == .ram {
            let last = range.base &+ (range.size &- 1)
            if let before = found.last, memory === range.region.memory, before.readOnly == range.readOnly,
                before.last &+ 1 == range.base,
                before.host &+ UInt(truncatingIfNeeded: before.last &- before.base) &+ 1 == range.hostAddress
            {
                found[found.count - 1].last = last
            } else {
                let shared = range.region.memory.flatMap { $0.isShared ? $0 : nil }
                // The range lies inside the mapping, and the mapping inside the file.
                let offset = shared.map { $0.fileOffset &+ UInt64(range.hostAddress &- $0.address) }
                found.append(
                    RAM(
                        base: range.base, last: last, host: range.hostAddress, readOnly: range.readOnly, file: shared?.fileDescriptor ?? -1,
                        fileOffset: offset ?? 0, release: range.region.memory?.release ?? .none, pageSize: range.region.memory?.pageSize ?? 1))
            }
            memory = range.region.memory
        }
        return found
    }

    /// Index of the entry that holds `address`.
    @inline(__always)
    func entryIndex(at address: UInt64) -> Int? {
        var low = 0
        var high = unsafe entries.count
        while low < high {
            let middle = (low &+ high) >> 1
            if unsafe entries[middle].last >= address { high = middle } else { low = middle &+ 1 }
        }
        guard unsafe low < entries.count, unsafe entries[low].base <= address else { return nil }
        return low
    }

    /// Index of the RAM piece that holds `address`.
    @inline(__always)
    func ramIndex(at address: UInt64) -> Int? {
        var low = 0
        var high = unsafe ram.count
        while low < high {
            let middle = (low &+ high) >> 1
            if unsafe ram[middle].last >= address { high = middle } else { low = middle &+ 1 }
        }
        guard unsafe low < ram.count, unsafe ram[low].base <= address else { return nil }
        return low
    }

    /// The event that a write signals.
    func event(address: UInt64, size: Int, value: UInt64) -> EventFD? {
        var low = 0
        var high = unsafe events.count
        while low < high {
            let middle = (low &+ high) >> 1
            if unsafe events[middle].address >= address { high = middle } else { low = middle &+ 1 }
        }
        while unsafe low < events.count, unsafe events[low].address == address {
            if unsafe events[low].matches(address: address, size: size, value: value) { return unsafe events[low].event }
            low &+= 1
        }
        return nil
    }
}
