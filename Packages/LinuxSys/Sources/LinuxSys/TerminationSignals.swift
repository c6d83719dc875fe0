internal import CLinuxSys

/// SIGTERM, SIGINT and SIGHUP as events of a loop instead of interruptions.
///
/// Make it on the main thread before any other thread starts: the signals are blocked in this thread and in all that it starts. SIGPIPE is ignored.
public final class TerminationSignals: Sendable {
    private let file: OwnedFD

    public init() throws(Errno) {
        file = OwnedFD(adopting: Int32(truncatingIfNeeded: try check(sys_signals_to_descriptor())))
    }

    /// For `EventLoop.add`.
    public var raw: Int32 { file.raw }

    /// The next signal that came and the process that sent it (0: the kernel), or nil.
    public func next() -> (number: Int32, sender: Int32)? {
        var sender: Int32 = 0
        let number = unsafe sys_next_signal(file.raw, &sender)
        return number == 0 ? nil : (number, sender)
    }
}
