internal import Glibc
public import LinuxSys

/// Limits. Owner thread only, except where it says something else.
extension RawImage {
    /// Nil until a limit was set for the first time.
    public var throttleFD: Int32? { throttle?.timer.raw }

    /// Ordered with the owner's calls by the caller. `throttleFD` may be there afterwards where there was none. Throws when the host has no timer left: nothing
    /// changes then.
    public func setThrottle(_ limits: ThrottleLimits) throws(Errno) {
        if throttle == nil {
            if limits.isUnlimited { return }
            throttle = try Throttle(limits, capacity: inFlightLimit)
        } else {
            throttle?.change(limits)
            startDue()
            kick()
        }
    }

    public func cancelWaiting(_ isCancelled: (UInt64) -> Bool) {
        guard throttle != nil else { return }
        for direction in Throttle.Direction.allCases {
            // Once around: those that stay keep their order.
            for _ in 0..<(throttle?.waitingCount(direction) ?? 0) {
                guard let index = throttle?.takeWaiting(direction) else { break }
                if isCancelled(transfers[index].operation.token) {
                    readyResults[index] = -ECANCELED
                    ready.push(index)
                } else {
                    throttle?.putBack(index, direction)
                }
            }
        }
        throttle?.arm()
        if ready.count > 0 { completion.signal() }
    }

    /// Starts what need not wait any longer.
    func startDue() {
        while let index = throttle?.nextStartable() {
            begin(index)
            mustKick = true
        }
    }

    /// Starts what waits before its time. It is counted all the same: what comes later waits the longer.
    func startAllWaiting() {
        while let index = throttle?.nextEarly() { begin(index) }
    }
}
