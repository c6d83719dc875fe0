internal import LinuxSys

/// Waits for the second at which a clock's alarm is due, with one timer of the event loop. Kept under the lock of its device.
struct AlarmTimer {
    private var timer: EventLoop.TimerID?
    private var target: Int64?

    /// Waits for `target`, which is `delay` nanoseconds away, in place of what it waited for; nil: for nothing. Without a loop nobody waits.
    ///
    /// `fire` comes after ten minutes at the latest, so that a step of the host's clock is noticed.
    mutating func wait(for target: Int64?, delay: UInt64, on loop: EventLoop?, fire: @escaping @Sendable () -> Void) {
        if target == self.target { return }
        if let timer { loop?.cancel(timer) }
        timer = nil
        self.target = target
        guard target != nil, let loop else { return }
        timer = loop.after(nanoseconds: min(delay, 600_000_000_000), fire)
    }

    /// What was waited for is here.
    mutating func fired() { (timer, target) = (nil, nil) }
}
