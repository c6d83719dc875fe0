internal import Synchronization

/// Hands the current flat view to readers, and frees old ones when nobody reads them any more.
@safe
final class ViewPublisher: @unchecked Sendable {
    /// SAFETY: points into `current` or, for readers inside a section, into a view in `retired`.
    private let published: Atomic<UnsafeMutablePointer<LookupTable>>
    let gate = ReaderGate()
    /// Counts what was published, from 1 on.
    let generation = Atomic<UInt64>(1)

    // Guarded by Topology.
    private(set) var current: FlatView
    private var retired: [FlatView] = []
    /// Every mapping that was ever shown: I/O in flight may still go to memory that the guest no longer sees.
    private var shown: [HostMemory] = []

    init(_ view: FlatView) {
        current = view
        unsafe published = Atomic(view.table)
    }

    /// Valid until the section is left.
    @inline(__always)
    var table: UnsafeMutablePointer<LookupTable> { unsafe published.load(ordering: .sequentiallyConsistent) }

    /// Under Topology's lock.
    func publish(_ view: FlatView) {
        for range in view.ranges {
            guard let memory = range.region.memory, !shown.contains(where: { $0 === memory }) else { continue }
            shown.append(memory)
        }
        retired.append(current)
        current = view
        unsafe published.store(view.table, ordering: .sequentiallyConsistent)
        generation.wrappingAdd(1, ordering: .sequentiallyConsistent)
        freeRetired()
    }

    /// Frees what no reader can see. A reader that was descheduled inside a section only puts it off to the next commit.
    @discardableResult
    func freeRetired() -> Bool {
        guard !retired.isEmpty else { return true }
        guard gate.waitForReaders() else { return false }
        retired = []
        return true
    }

    /// Lets go of mappings that the current view does not show. Under Topology's lock.
    func forgetHiddenMemory() -> Bool {
        guard freeRetired() else { return false }
        shown.removeAll { memory in !current.ranges.contains { $0.region.memory === memory } }
        return true
    }
}
