internal import Glibc

/// The host's clocks. Any thread.
public enum Clock {
    /// CLOCK_MONOTONIC, nanoseconds.
    public static func monotonicNanoseconds() -> UInt64 { nanoseconds(CLOCK_MONOTONIC) }

    /// CLOCK_REALTIME, nanoseconds since 1970-01-01 UTC.
    public static func realtimeNanoseconds() -> UInt64 { nanoseconds(CLOCK_REALTIME) }

    /// CLOCK_PROCESS_CPUTIME_ID: what all threads of the process have used, nanoseconds.
    static func processorNanoseconds() -> UInt64 { nanoseconds(CLOCK_PROCESS_CPUTIME_ID) }

    /// A time in milliseconds with three decimals, as "12.345".
    public static func milliseconds(_ nanoseconds: UInt64) -> String {
        let decimals = String(nanoseconds / 1000 % 1000)
        return "\(nanoseconds / 1_000_000).\(String(repeating: "0", count: 3 - decimals.utf8.count))\(decimals)"
    }

    private static func nanoseconds(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        _ = unsafe clock_gettime(clock, &time)
        return UInt64(clamping: time.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: time.tv_nsec)
    }

    public static func sleep(nanoseconds: UInt64) {
        var time = timespec(tv_sec: Int(clamping: nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        var rest = timespec()
        while unsafe nanosleep(&time, &rest) != 0 { time = rest }
    }
}
