public import Synchronization

/// A number of events; it wraps. One thread at a time adds, whoever serves what is counted; any thread reads, without a lock, what was right a moment ago.
///
/// To add is a load and a store without a locked instruction: what a plain integer costs. Events that several threads count at once belong into an `Atomic`.
public struct Counter: ~Copyable, Sendable {
    @usableFromInline let count = Atomic<UInt64>(0)

    @inlinable public init() {}

    @inlinable @inline(__always)
    public func add(_ amount: UInt64 = 1) { count.store(count.load(ordering: .relaxed) &+ amount, ordering: .relaxed) }

    /// Takes back what was added.
    @inlinable @inline(__always)
    public func subtract(_ amount: UInt64) { add(0 &- amount) }

    @inlinable public var value: UInt64 { count.load(ordering: .relaxed) }
}
