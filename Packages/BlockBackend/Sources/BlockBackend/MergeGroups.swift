internal import Glibc

/// Groups of adjacent transfers that one system call does, and the iovecs for these calls. Owner thread only.
///
/// A group is a transfer of its own behind those of the table: index `transferCount + group`. Memory: 4 KiB a group, taken when it is first needed.
@safe final class MergeGroups: @unchecked Sendable {
    static let count = 8
    static let maximumVectors = 256
    /// Bytes of all transfers together: larger ones gain nothing, and several threads or a deep queue would do them side by side.
    static let maximumBytes: UInt64 = 1 << 20

    // SAFETY: `transferCount` (`links`) and `count` elements, initialized for the object's life; indices are this package's own.
    private let links: UnsafeMutablePointer<Int16>
    private let heads: UnsafeMutablePointer<Int16>
    private let vectors: UnsafeMutablePointer<UnsafeMutablePointer<iovec>?>
    private var free: IndexQueue
    /// Groups that were done.
    private(set) var done: UInt64 = 0
    /// Transfers that went with another.
    var mergedReads: UInt64 = 0
    var mergedWrites: UInt64 = 0

    init(transferCount: Int) {
        unsafe links = .allocate(capacity: transferCount)
        unsafe links.initialize(repeating: -1, count: transferCount)
        unsafe heads = .allocate(capacity: Self.count)
        unsafe heads.initialize(repeating: -1, count: Self.count)
        unsafe vectors = .allocate(capacity: Self.count)
        unsafe vectors.initialize(repeating: nil, count: Self.count)
        free = IndexQueue(capacity: Self.count)
        for group in 0..<Self.count { free.push(group) }
    }

    deinit {
        for group in 0..<Self.count { unsafe vectors[group]?.deallocate() }
        unsafe vectors.deallocate()
        unsafe heads.deallocate()
        unsafe links.deallocate()
    }

    /// A new group that begins with transfer `first`; nil when all are in use.
    func take(first: Int) -> Int? {
        guard let group = free.pop() else { return nil }
        if unsafe vectors[group] == nil { unsafe vectors[group] = .allocate(capacity: Self.maximumVectors) }
        unsafe heads[group] = Int16(truncatingIfNeeded: first)
        unsafe links[first] = -1
        return group
    }

    /// SAFETY: room for `maximumVectors` elements, until `release`.
    @unsafe func vectors(of group: Int) -> UnsafeMutablePointer<iovec>? { unsafe vectors[group] }

    /// Puts `index` behind `last`.
    func link(_ index: Int, behind last: Int) {
        unsafe links[last] = Int16(truncatingIfNeeded: index)
        unsafe links[index] = -1
    }

    /// Gives the group up; its first transfer.
    func release(_ group: Int) -> Int {
        free.push(group)
        done &+= 1
        return unsafe Int(heads[group])
    }

    /// The transfer behind `index`.
    func next(_ index: Int) -> Int? { unsafe links[index] >= 0 ? unsafe Int(links[index]) : nil }
}
