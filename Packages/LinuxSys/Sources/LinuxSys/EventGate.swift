internal import CLinuxSys
internal import Glibc

/// Several descriptors watched as one (epoll(7)): `raw` is readable while one of them is. For whoever has one place in an event loop that belongs to
/// somebody else, and must be able to stop watching a descriptor (a socket that has hung up stays readable for ever) without a word to that loop.
/// Any thread.
public final class EventGate: Sendable {
    private let epoll: OwnedFD

    public init() throws(Errno) { epoll = OwnedFD(adopting: Int32(truncatingIfNeeded: try check(sys_epoll_create()))) }

    /// For `EventLoop.add`.
    public var raw: Int32 { epoll.raw }

    /// Watches `fd`, which stays the caller's, for data and hang-ups.
    public func add(_ fd: Int32) throws(Errno) {
        _ = try check(sys_epoll_ctl(epoll.raw, EPOLL_CTL_ADD, fd, EPOLLIN.rawValue, UInt64(UInt32(bitPattern: fd))))
    }

    /// Stops watching `fd`; nothing happens when it is not watched. Before the descriptor is closed.
    public func remove(_ fd: Int32) { _ = sys_epoll_ctl(epoll.raw, EPOLL_CTL_DEL, fd, 0, 0) }

    /// One that is ready now, each in its turn; nil when none is.
    public func next() -> Int32? {
        var event = unsafe epoll_event()
        // SAFETY: the kernel fills one entry at most, and it is read only when it did.
        guard unsafe sys_epoll_wait(epoll.raw, &event, 1, 0) == 1 else { return nil }
        return Int32(bitPattern: UInt32(truncatingIfNeeded: unsafe sys_epoll_data(&event)))
    }
}
