internal import CLinuxSys

/// An eventfd(2) counter: wakes an event loop, or is handed to KVM as an ioeventfd or irqfd. Any thread may use it.
public final class EventFD: Sendable {
    private let file: OwnedFD

    public init() throws(Errno) {
        file = OwnedFD(adopting: Int32(truncatingIfNeeded: try check(sys_eventfd())))
    }

    public var raw: Int32 { file.raw }

    /// Adds one to the counter. A counter that is full stays so: whoever waits is woken anyway.
    public func signal() {
        var one: UInt64 = 1
        _ = unsafe sys_write(file.raw, &one, 8)
    }

    /// Takes the counter's value and leaves 0; 0 when nobody signalled. Never waits, even when another process that was given the descriptor has made it blocking
    /// and takes the value first.
    @discardableResult
    public func drain() -> UInt64 {
        var value: UInt64 = 0
        return unsafe sys_read_now(file.raw, &value, 8) == 8 ? value : 0
    }
}
