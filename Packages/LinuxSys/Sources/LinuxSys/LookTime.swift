/// How long an `EventLoop` looks for work before it waits.
///
/// A loop with something to do looks for a moment at least: a guest that has its answer often asks again at once. It looks longer while that would have brought
/// what it waited for, unless it has lately looked longer in vain: then not for some waits, and for more of them each time. What a long look is after need
/// not come sooner by it, and may need this very CPU: Linux ends a direct asynchronous write by a worker thread on the CPU that takes the disk's interrupts.
struct LookTime: Sendable {
    /// A moment; nanoseconds, as is all time here.
    static let moment: UInt64 = 4000
    /// Who waits longer has nothing to do, and does not look.
    private static let idle: UInt64 = 1_000_000
    private static let mostFailures: UInt8 = 6

    /// Of the next look; 0: none.
    private(set) var nanoseconds: UInt64 = 0
    /// Looks longer than a moment that were in vain, since the last that was not, or as many as count.
    private(set) var failures: UInt8 = 0
    /// Waits after which the look does not become longer.
    private var rest: UInt8 = 0

    /// What a look has not brought came `time` after its beginning.
    mutating func waited(_ time: UInt64, longest: UInt64) {
        if time > longest {
            if nanoseconds > Self.moment {
                failures = min(failures &+ 1, Self.mostFailures)
                rest = 1 << failures
            }
            nanoseconds = time > max(longest, Self.idle) ? 0 : min(longest, Self.moment)
        } else if nanoseconds == 0 {
            nanoseconds = min(longest, Self.moment)
        } else if rest > 0 {
            rest &-= 1
        } else if time > nanoseconds {
            nanoseconds = min(longest, nanoseconds &* 2)
        }
    }

    /// A look has brought something after more than a moment.
    mutating func found() { failures = 0 }
}
