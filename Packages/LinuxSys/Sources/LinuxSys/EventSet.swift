internal import CLinuxSys
internal import Glibc

extension EventLoop.Events {
    /// For an `EventSet`: a change is told once, and the owner remembers it until a call says EAGAIN. A descriptor that nobody can serve now costs nothing meanwhile.
    public static let once = EventLoop.Events(rawValue: EPOLLET.rawValue)
}

/// Any number of descriptors in one place of somebody else's event loop (epoll(7)): `raw` is readable while one of them has something to tell. As `EventGate`, for who
/// has many that come and go: each has a number of the owner's choice, and what is ready comes by the handful. Any thread.
public final class EventSet: Sendable {
    private static let handful = 32
    private let epoll: OwnedFD

    public init() throws(Errno) { epoll = OwnedFD(adopting: Int32(truncatingIfNeeded: try check(sys_epoll_create()))) }

    /// For `EventLoop.add`.
    public var raw: Int32 { epoll.raw }

    /// Watches `fd`, which stays the caller's.
    public func add(_ fd: Int32, _ events: EventLoop.Events, token: UInt64) throws(Errno) {
        _ = try check(sys_epoll_ctl(epoll.raw, EPOLL_CTL_ADD, fd, events.rawValue, token))
    }

    /// Changes what is watched. What is ready is told again.
    public func modify(_ fd: Int32, _ events: EventLoop.Events, token: UInt64) throws(Errno) {
        _ = try check(sys_epoll_ctl(epoll.raw, EPOLL_CTL_MOD, fd, events.rawValue, token))
    }

    /// Stops watching `fd`; nothing happens when it is not watched. Before the descriptor is closed.
    public func remove(_ fd: Int32) { _ = sys_epoll_ctl(epoll.raw, EPOLL_CTL_DEL, fd, 0, 0) }

    /// Tells what is ready now, at most a handful, each in its turn; `raw` stays readable when there is more. `body` may add and remove descriptors: what it removed
    /// may still be told in this call, so tokens should not be used twice.
    public func take(_ body: (UInt64, EventLoop.Events) -> Void) {
        unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: Self.handful) { events in
            // SAFETY: the kernel fills at most `handful` entries, and only those it counts are read.
            let count = unsafe sys_epoll_wait(epoll.raw, events.baseAddress, Int32(Self.handful), 0)
            for index in 0..<max(0, min(count, Self.handful)) {
                guard let event = unsafe events.baseAddress.map({ unsafe $0 + index }) else { return }
                body(unsafe sys_epoll_data(event), EventLoop.Events(rawValue: unsafe event.pointee.events))
            }
        }
    }
}
