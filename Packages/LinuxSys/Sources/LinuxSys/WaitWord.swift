internal import CLinuxSys
internal import Synchronization

/// A 32-bit word that threads sleep on (futex(2)). Any thread.
@safe
public final class WaitWord: @unchecked Sendable {
    // SAFETY: allocated for the object's life, and touched only through Atomic and by the kernel's futex code.
    private let word: UnsafeMutablePointer<Atomic<UInt32>>

    public init(_ value: UInt32 = 0) {
        unsafe word = .allocate(capacity: 1)
        unsafe word.initialize(to: Atomic(value))
    }

    deinit {
        unsafe word.deinitialize(count: 1)
        unsafe word.deallocate()
    }

    public var value: UInt32 { unsafe word.pointee.load(ordering: .sequentiallyConsistent) }

    public func store(_ value: UInt32) { unsafe word.pointee.store(value, ordering: .sequentiallyConsistent) }

    /// Replaces `expected` by `value`; false, and nothing changed, when the word holds something else.
    public func exchange(_ expected: UInt32, for value: UInt32) -> Bool {
        unsafe word.pointee.compareExchange(expected: expected, desired: value, ordering: .sequentiallyConsistent).exchanged
    }

    /// Sleeps while the word holds `value`, until woken or until `nanoseconds` have passed (negative: no limit). May return early.
    public func wait(while value: UInt32, nanoseconds: Int64 = -1) {
        _ = unsafe sys_futex_wait(word, value, nanoseconds)
    }

    public func wakeAll() { _ = unsafe sys_futex_wake(word, .max) }
}
