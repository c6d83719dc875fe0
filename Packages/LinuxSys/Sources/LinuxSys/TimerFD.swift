internal import CLinuxSys

/// A timerfd(2), for devices that know descriptors but no event loop. Any thread.
public final class TimerFD: Sendable {
    private let file: OwnedFD

    public init() throws(Errno) {
        file = OwnedFD(adopting: Int32(truncatingIfNeeded: try check(sys_timerfd())))
    }

    /// Readable once the time is over, until `drain`.
    public var raw: Int32 { file.raw }

    /// Expires once, after `nanoseconds` (at least 1), in place of what was set before.
    public func arm(nanoseconds: UInt64) { _ = sys_timerfd_arm(file.raw, max(1, min(nanoseconds, UInt64(Int64.max)))) }

    public func disarm() { _ = sys_timerfd_arm(file.raw, 0) }

    /// True when the time was over.
    @discardableResult
    public func drain() -> Bool {
        var count: UInt64 = 0
        return unsafe sys_read(file.raw, &count, 8) == 8
    }
}
