internal import Glibc
internal import Synchronization

/// When the process began.
///
/// The kernel tells it only to a hundredth of a second (proc_pid_stat(5), starttime). So the program's first line notes the time, and takes off what the process has
/// used of a processor by then: that is the work of exec(2) and of the loader, to which nothing is missing but waits, such as for a disk that holds the program.
public enum ProgramStart {
    private static let start = Atomic<UInt64>(0)

    /// Once, first of all.
    public static func note() {
        let now = Clock.monotonicNanoseconds()
        let used = Clock.processorNanoseconds()
        start.store(now > used ? now &- used : now, ordering: .relaxed)
    }

    /// CLOCK_MONOTONIC, nanoseconds; 0 when nobody has noted it.
    public static var time: UInt64 { start.load(ordering: .relaxed) }

    /// Nanoseconds from then to now.
    public static var elapsed: UInt64 {
        let now = Clock.monotonicNanoseconds()
        return now > time ? now &- time : 0
    }
}
