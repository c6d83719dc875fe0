internal import CLinuxSys
internal import Synchronization

/// A process that has left its terminal and its parent, who waits until it is ready. Any thread, but `start`.
public final class Daemon: Sendable {
    /// Nil when nobody waits any more.
    private let report: Mutex<OwnedFD?>

    /// Forks twice, with a new session in between. Returns in the daemon only; the process that was started waits for `ready` and ends with code 0, or prints
    /// the sentence of `fail` after `prefix` and ends with code 1, also when the daemon ends without a word. The working directory and the umask stay.
    ///
    /// Before the process has a second thread, and before it opens what a child of fork(2) must not share. Throws when a process or pipe cannot be made.
    public static func start(errorPrefix prefix: String) throws(Errno) -> Daemon {
        var report: Int32 = -1
        _ = try check(unsafe sys_daemonize(prefix, &report))
        return Daemon(report: OwnedFD(adopting: report))
    }

    private init(report: consuming OwnedFD) { self.report = Mutex(report) }

    /// Puts /dev/null in the place of the standard streams and lets the waiting process go. EPIPE when nobody waits any more: whoever started the daemon
    /// was stopped meanwhile, and believes that it does not run.
    public func ready() throws(Errno) {
        _ = try check(sys_leave_terminal())
        try report.withLock { report throws(Errno) in
            try report?.writeAll([0])
            report = nil
        }
    }

    /// Has the waiting process print the sentence; false when nobody waits.
    public func fail(_ sentence: String) -> Bool {
        report.withLock { report in
            // A zero byte would mean success.
            let isTold = (try? report?.writeAll(sentence.utf8.filter { $0 != 0 })) != nil
            report = nil
            return isTold
        }
    }
}
