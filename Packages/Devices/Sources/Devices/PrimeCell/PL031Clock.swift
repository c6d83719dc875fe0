/// The registers of the PL031 and how time passes in them (ARM DDI 0224, chapter 3).
struct PL031Clock {
    enum Register {
        /// RTCDR: the count. Read only.
        static let data: UInt64 = 0x000
        /// RTCMR: the count at which the alarm comes.
        static let match: UInt64 = 0x004
        /// RTCLR: a new count.
        static let load: UInt64 = 0x008
        /// RTCCR: bit 0 starts the clock, and cannot stop it.
        static let control: UInt64 = 0x00C
        /// RTCIMSC: bit 0 lets the alarm interrupt.
        static let interruptMask: UInt64 = 0x010
        /// RTCRIS: bit 0, the alarm has come. Read only.
        static let rawInterrupt: UInt64 = 0x014
        /// RTCMIS: the two above, both. Read only.
        static let maskedInterrupt: UInt64 = 0x018
        /// RTCICR: writing bit 0 clears the alarm.
        static let interruptClear: UInt64 = 0x01C
    }

    private static let second: UInt64 = 1_000_000_000

    private var match: UInt32 = 0
    private var load: UInt32 = 0
    private var isEnabled = false
    private var alarm = false
    /// Count = host seconds + offset, modulo 2^32.
    private var offset: UInt32 = 0
    /// The host's second to which `alarm` is up to date.
    private var hostSecond: Int64

    init(now: UInt64) { hostSecond = Self.seconds(now) }

    private static func seconds(_ time: UInt64) -> Int64 { Int64(clamping: time / second) }

    private var count: UInt32 { UInt32(truncatingIfNeeded: hostSecond) &+ offset }

    var isInterruptAsserted: Bool { alarm && isEnabled }

    mutating func read(_ register: UInt64) -> UInt32 {
        switch register {
        case Register.data: count
        case Register.match: match
        case Register.load: load
        case Register.control: 1
        case Register.interruptMask: isEnabled ? 1 : 0
        case Register.rawInterrupt: alarm ? 1 : 0
        case Register.maskedInterrupt: isInterruptAsserted ? 1 : 0
        default: 0
        }
    }

    /// After `advance`.
    mutating func write(_ register: UInt64, _ value: UInt32) {
        switch register {
        case Register.match:
            match = value
            if match == count { alarm = true }
        case Register.load:
            load = value
            // The next second still begins when the host's does: loading does not touch the 1 Hz input.
            offset = value &- UInt32(truncatingIfNeeded: hostSecond)
            if match == count { alarm = true }
        case Register.interruptMask: isEnabled = value & 1 != 0
        case Register.interruptClear: if value & 1 != 0 { alarm = false }
        default: break
        }
    }

    /// Lets time pass. The alarm comes if the count has reached or passed the match register meanwhile, also when the host's clock stepped over it; a step back
    /// only delays it.
    mutating func advance(to now: UInt64) {
        let new = Self.seconds(now)
        if new > hostSecond, UInt64(secondsToMatch) <= UInt64(new &- hostSecond) { alarm = true }
        hostSecond = new
    }

    /// 1...2^32: a count that equals the register now matched when it came to be so.
    private var secondsToMatch: Int64 {
        let distance = Int64(match &- count)
        return distance == 0 ? 1 << 32 : distance
    }

    /// The host's second in which an interrupt will begin; nil when none will.
    var nextAlarm: Int64? { isEnabled && !alarm ? hostSecond &+ secondsToMatch : nil }

    /// Until `second` of the host begins.
    static func nanoseconds(from now: UInt64, to second: Int64) -> UInt64 {
        let (target, overflow) = UInt64(clamping: second).multipliedReportingOverflow(by: Self.second)
        return overflow ? .max : target > now ? target - now : 0
    }
}
