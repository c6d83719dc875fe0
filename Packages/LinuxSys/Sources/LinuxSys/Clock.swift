internal import Glibc

/// The host's clocks. Any thread.
public enum Clock {
    /// CLOCK_MONOTONIC, nanoseconds.
    public static func monotonicNanoseconds() -> UInt64 { nanoseconds(CLOCK_MONOTONIC) }

    /// CLOCK_REALTIME, nanoseconds since 1970-01-01 UTC.
    public static func realtimeNanoseconds() -> UInt64 { nanoseconds(CLOCK_REALTIME) }

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
