/// One immutable rendering of a region tree: what an address space looks like until the next commit.
/// Writers keep the object; readers see `table` only, which holds no counted reference to the view itself.
@safe
final class FlatView: @unchecked Sendable {
    /// Sorted by base, disjoint.
    let ranges: [FlatRange]
    /// Sorted by `IOEventFD.precedes`.
    let ioEventFDs: [IOEventFD]
    /// SAFETY: initialised in init, destroyed in deinit, never written in between; ViewPublisher keeps the
    /// view until no reader can hold the pointer.
    let table: UnsafeMutablePointer<LookupTable>

    /// The view of nothing.
    init() {
        ranges = []
        ioEventFDs = []
        unsafe table = FlatView.makeTable([], [])
    }

    init(rendering root: Region) throws(AddressSpaceError) {
        var renderer = Renderer()
        if root.size > 0 {
            try renderer.render(root, from: 0, to: root.size, at: 0, depth: 0)
        }
        ranges = renderer.mergedRanges()
        ioEventFDs = FlatView.ioEventFDs(of: ranges)
        unsafe table = FlatView.makeTable(ranges, ioEventFDs)
    }

    private static func makeTable(_ ranges: [FlatRange], _ events: [IOEventFD]) -> UnsafeMutablePointer<LookupTable> {
        // SAFETY: freshly allocated for one element and initialised at once.
        let table = UnsafeMutablePointer<LookupTable>.allocate(capacity: 1)
        unsafe table.initialize(to: LookupTable(ranges: ranges, ioEventFDs: events))
        return unsafe table
    }

    deinit {
        unsafe table.pointee.destroy()
        unsafe table.deinitialize(count: 1)
        unsafe table.deallocate()
    }

    private static func ioEventFDs(of ranges: [FlatRange]) -> [IOEventFD] {
        var found: [IOEventFD] = []
        for range in ranges where range.kind == .io || range.kind == .romDevice {
            for item in range.region.ioEventFDs {
                // Only those that this piece of the region shows whole.
                let length = UInt64(max(item.size, 1))
                guard item.address >= range.offsetInRegion else { continue }
                let skip = item.address &- range.offsetInRegion
                guard skip < range.size, length <= range.size &- skip else { continue }
                found.append(
                    IOEventFD(address: range.base &+ skip, size: item.size, datamatch: item.datamatch, event: item.event))
            }
        }
        found.sort(by: IOEventFD.precedes)
        return found
    }
}
