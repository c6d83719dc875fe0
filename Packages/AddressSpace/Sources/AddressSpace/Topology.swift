internal import CAddressSpace
internal import LinuxSys
internal import Synchronization

/// The one lock of all region trees, and the transaction that is open under it. One for the process, since a
/// region may be shown in several address spaces through aliases. Never taken by vCPU or queue paths.
final class Topology: @unchecked Sendable {
    static let shared = Topology()

    private let mutex = Mutex<Void>(())
    private let owner = Atomic<UInt>(0)

    // All below: guarded by the lock.
    private var depth = 0
    private var isCommitting = false
    private var undo: [() -> Void] = []
    private var changed: [AddressSpace] = []

    /// Runs `body` with the lock held; a thread that holds it already just goes on.
    func locked<E: Error>(_ body: () throws(E) -> Void) throws(E) {
        let token = as_thread_token()
        // Only this thread ever stores its own token, so a stale value can only be another thread's.
        if owner.load(ordering: .relaxed) == token { return try body() }
        try mutex.withLock { (_) throws(E) in
            // Acquire and release say again what Mutex does: ThreadSanitizer does not see into it.
            _ = owner.exchange(token, ordering: .acquiring)
            defer { owner.store(0, ordering: .releasing) }
            try body()
        }
    }

    /// Runs `body`, which changes trees. At the outermost end the views are rebuilt and the listeners told.
    /// Whatever fails, the trees are as they were before.
    func transaction(_ body: () throws(AddressSpaceError) -> Void) throws(AddressSpaceError) {
        try locked { () throws(AddressSpaceError) in
            guard !isCommitting else { throw .changeDuringCommit }
            let mark = undo.count
            depth += 1
            do throws(AddressSpaceError) {
                try body()
            } catch {
                depth -= 1
                rollBack(to: mark)
                if depth == 0 { changed = [] }
                throw error
            }
            depth -= 1
            if depth == 0 { try commit() }
        }
    }

    /// A transaction around one change of `region`.
    func change(_ region: Region, _ body: () throws(AddressSpaceError) -> Void) throws(AddressSpaceError) {
        try transaction { () throws(AddressSpaceError) in
            for space in region.showingSpaces() where !changed.contains(where: { $0 === space }) { changed.append(space) }
            try body()
        }
    }

    /// Registers how to take back a change that was just made.
    func onRollback(_ step: @escaping () -> Void) { undo.append(step) }

    private func rollBack(to mark: Int) {
        while undo.count > mark { undo.removeLast()() }
    }

    private func commit() throws(AddressSpaceError) {
        let spaces = changed
        changed = []
        isCommitting = true
        var commits: [Commit] = []
        var failure: AddressSpaceError?
        do throws(AddressSpaceError) {
            for space in spaces { commits.append(try Commit(of: space)) }
            for index in commits.indices { try commits[index].tellListeners() }
            for commit in commits { commit.publish() }
        } catch {
            failure = error
            for commit in commits.reversed() where !commit.takeBack() {
                failure = .rollbackFailed(error.description)
            }
            rollBack(to: 0)
        }
        isCommitting = false
        undo = []
        if let failure { throw failure }
    }
}

/// What one transaction means for one address space.
private struct Commit {
    let space: AddressSpace
    let view: FlatView
    let ranges: Difference<FlatRange>
    let events: Difference<IOEventFD>
    /// How many calls, in the order of `tellListeners`, were accepted.
    private var accepted = 0

    init(of space: AddressSpace) throws(AddressSpaceError) {
        self.space = space
        view = try FlatView(rendering: space.root)
        let old = space.publisher.current
        ranges = Difference(from: old.ranges, to: view.ranges) { $0.base < $1.base }
        events = Difference(from: old.ioEventFDs, to: view.ioEventFDs, by: IOEventFD.precedes)
    }

    mutating func tellListeners() throws(AddressSpaceError) {
        for listener in space.listeners {
            if !ranges.isEmpty { try listener.regionsChanged(removed: ranges.removed, added: ranges.added) }
            accepted += 1
            if !events.isEmpty { try listener.ioEventFDsChanged(removed: events.removed, added: events.added) }
            accepted += 1
        }
    }

    /// Brings the listeners back to the old view, the last told first; false when one could not.
    func takeBack() -> Bool {
        var clean = true
        for call in (0..<accepted).reversed() {
            let listener = space.listeners[call / 2]
            do throws(AddressSpaceError) {
                if call % 2 == 0, !ranges.isEmpty {
                    try listener.regionsChanged(removed: ranges.added, added: ranges.removed)
                } else if call % 2 == 1, !events.isEmpty {
                    try listener.ioEventFDsChanged(removed: events.added, added: events.removed)
                }
            } catch {
                clean = false
            }
        }
        return clean
    }

    func publish() {
        for range in ranges.removed { Trace.emit(.memoryRemove, "\(space.name) \(range.region.name)", range.base, range.size) }
        for range in ranges.added { Trace.emit(.memoryAdd, "\(space.name) \(range.region.name)", range.base, range.size) }
        if !ranges.isEmpty || !events.isEmpty { space.publisher.publish(view) }
    }
}

/// What differs between two lists sorted by `precedes`; elements that sort alike but are not equal are both removed and added.
struct Difference<Element: Equatable> {
    private(set) var removed: [Element] = []
    private(set) var added: [Element] = []

    var isEmpty: Bool { removed.isEmpty && added.isEmpty }

    init(from old: [Element], to new: [Element], by precedes: (Element, Element) -> Bool) {
        var i = 0
        var j = 0
        while i < old.count || j < new.count {
            if i < old.count, j < new.count, old[i] == new[j] {
                i += 1
                j += 1
            } else if j == new.count || (i < old.count && !precedes(new[j], old[i])) {
                removed.append(old[i])
                i += 1
            } else {
                added.append(new[j])
                j += 1
            }
        }
    }
}
