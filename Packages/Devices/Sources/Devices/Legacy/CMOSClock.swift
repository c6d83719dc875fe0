/// The registers of the MC146818 and how time passes in them (Motorola MC146818 datasheet).
struct CMOSClock {
    static let registerA: UInt8 = 0x0A
    static let registerB: UInt8 = 0x0B
    static let registerC: UInt8 = 0x0C
    static let registerD: UInt8 = 0x0D

    private enum B {
        static let set: UInt8 = 0x80
        static let alarmInterrupt: UInt8 = 0x20
        static let updateInterrupt: UInt8 = 0x10
        static let binary: UInt8 = 0x04
        static let hours24: UInt8 = 0x02
    }
    private enum C {
        static let interrupt: UInt8 = 0x80
        static let alarm: UInt8 = 0x20
        static let update: UInt8 = 0x10
    }
    private static let second: UInt64 = 1_000_000_000
    /// From update-in-progress to the update: 244 us.
    private static let updateLead: UInt64 = 244_000

    var index: UInt8 = 0
    /// Timer state of the device; kept here because it is under the same lock.
    var alarm = AlarmTimer()
    var wasAsserted = false

    /// Raw contents; the time registers are current only while the clock is stopped.
    private var memory = [UInt8](repeating: 0, count: 128)
    private var flags: UInt8 = 0
    /// Guest seconds = (host nanoseconds + phase) / 10^9 + offset.
    private var phase: UInt64 = 0
    private var offset: Int64 = 0
    /// Flags are up to date to this guest second.
    private var flaggedTo: Int64
    private var dividerWasReset = false

    init(now: UInt64) {
        flaggedTo = Int64(clamping: now / Self.second)
        store(Self.registerA, 0x26)  // 32768 Hz time base, 1024 Hz rate: what firmware leaves
        store(Self.registerB, B.hours24)
    }

    // MARK: Registers

    mutating func read(now: UInt64) -> UInt8 {
        switch index {
        case 0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, CMOSRTC.centuryIndex:
            if isRunning { latch(time(now)) }
            return byte(index)
        case Self.registerA: return byte(index) | (isUpdating(now) ? 0x80 : 0)
        case Self.registerC:
            updateFlags(now: now)
            let value = flags | (isInterruptAsserted ? C.interrupt : 0)
            flags = 0
            return value
        case Self.registerD: return 0x80  // valid RAM and time
        default: return byte(index)
        }
    }

    mutating func write(_ value: UInt8, now: UInt64) {
        switch index {
        case 0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, CMOSRTC.centuryIndex:
            if isRunning {
                latch(time(now))
                store(index, value)
                resume(now: now, phase: phase)
            } else {
                store(index, value)
            }
        case Self.registerA, Self.registerB:
            updateFlags(now: now)
            let wasRunning = isRunning
            if wasRunning { latch(time(now)) }
            if index == Self.registerA {
                store(index, value & 0x7F)
            } else {
                // Setting SET clears UIE (datasheet, register B).
                store(index, value & B.set != 0 ? value & ~B.updateInterrupt : value)
            }
            if isDividerReset { dividerWasReset = true }
            if !wasRunning, isRunning {
                // The first update comes half a second after the divider chain is released: Linux sets the clock by that.
                resume(now: now, phase: dividerWasReset ? (3 * Self.second / 2 - now % Self.second) % Self.second : phase)
                dividerWasReset = false
            }
        case Self.registerC, Self.registerD: break
        default: store(index, value)
        }
    }

    private var isDividerReset: Bool { byte(Self.registerA) & 0x60 == 0x60 }
    private var isRunning: Bool { byte(Self.registerB) & B.set == 0 && !isDividerReset }

    private func isUpdating(_ now: UInt64) -> Bool {
        isRunning && (now &+ phase) % Self.second >= Self.second - Self.updateLead
    }

    // `index` is 7 bits and the array has 128 elements; the mask keeps that true of constants too.
    private func byte(_ index: UInt8) -> UInt8 { memory[Int(index & 0x7F)] }
    private mutating func store(_ index: UInt8, _ value: UInt8) { memory[Int(index & 0x7F)] = value }

    // MARK: Time

    /// Guest seconds since 1970 while running.
    private func time(_ now: UInt64) -> Int64 { Int64(clamping: (now &+ phase) / Self.second) &+ offset }

    /// Writes `time` into the registers in the format of register B.
    private mutating func latch(_ time: Int64) {
        let date = CalendarTime(seconds: time)
        store(0x00, encode(date.second))
        store(0x02, encode(date.minute))
        store(0x04, encodeHour(date.hour))
        store(0x06, encode(date.weekday + 1))
        store(0x07, encode(date.day))
        store(0x08, encode(date.month))
        store(0x09, encode(date.year % 100))
        store(CMOSRTC.centuryIndex, encode(date.year / 100))
    }

    /// Lets time run on from the registers. Values that are no date leave the clock as it was.
    private mutating func resume(now: UInt64, phase newPhase: UInt64) {
        guard let second = decode(byte(0x00)), let minute = decode(byte(0x02)), let hour = decodeHour(byte(0x04)),
            let day = decode(byte(0x07)), let month = decode(byte(0x08)), let year = decode(byte(0x09)),
            let century = decode(byte(CMOSRTC.centuryIndex)), year < 100,
            let seconds = CalendarTime(
                year: century * 100 + year, month: month, day: day, hour: hour, minute: minute, second: second
            ).seconds
        else { return }
        phase = newPhase
        offset = seconds &- Int64(clamping: (now &+ phase) / Self.second)
        flaggedTo = seconds
    }

    private func encode(_ value: Int) -> UInt8 {
        let value = UInt8(truncatingIfNeeded: value)
        return byte(Self.registerB) & B.binary != 0 ? value : (value / 10) << 4 | value % 10
    }

    private func decode(_ value: UInt8) -> Int? {
        if byte(Self.registerB) & B.binary != 0 { return Int(value) }
        guard value & 0x0F < 10, value >> 4 < 10 else { return nil }
        return Int(value >> 4) * 10 + Int(value & 0x0F)
    }

    /// 12-hour mode: 1...12, bit 7 for PM.
    private func encodeHour(_ hour: Int) -> UInt8 {
        if byte(Self.registerB) & B.hours24 != 0 { return encode(hour) }
        return encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0)
    }

    private func decodeHour(_ value: UInt8) -> Int? {
        if byte(Self.registerB) & B.hours24 != 0 { return decode(value) }
        guard let hour = decode(value & 0x7F), (1...12).contains(hour) else { return nil }
        return hour % 12 + (value & 0x80 != 0 ? 12 : 0)
    }

    // MARK: Alarm and update-ended

    var isInterruptAsserted: Bool { flags & byte(Self.registerB) & (C.alarm | C.update) != 0 }

    mutating func updateFlags(now: UInt64) {
        guard isRunning else { return }
        let time = time(now)
        if time > flaggedTo {
            flags |= C.update
            if let alarm = nextAlarm(after: flaggedTo), alarm <= time { flags |= C.alarm }
        }
        flaggedTo = time  // a host clock that steps back only delays the next update
    }

    /// The next guest second at which an enabled interrupt is due.
    func nextEvent(now: UInt64) -> Int64? {
        guard isRunning else { return nil }
        let enabled = byte(Self.registerB)
        if enabled & B.updateInterrupt != 0 { return time(now) &+ 1 }
        return enabled & B.alarmInterrupt != 0 ? nextAlarm(after: time(now)) : nil
    }

    func nanoseconds(until target: Int64, now: UInt64) -> UInt64 {
        let seconds = UInt64(clamping: target &- time(now))
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: Self.second)
        let passed = (now &+ phase) % Self.second
        return overflow ? .max : whole > passed ? whole - passed : 0
    }

    /// Alarm bytes with both top bits set match anything. Nil when the bytes match no time of day. At most about 150 steps:
    /// a wrong hour skips to the next hour, a wrong minute to the next minute.
    private func nextAlarm(after start: Int64) -> Int64? {
        let second = byte(0x01) >= 0xC0 ? nil : decode(byte(0x01)) ?? -1
        let minute = byte(0x03) >= 0xC0 ? nil : decode(byte(0x03)) ?? -1
        let hour = byte(0x05) >= 0xC0 ? nil : decodeHour(byte(0x05)) ?? -1
        var time = start &+ 1
        for _ in 0..<200 {
            let date = CalendarTime(seconds: time)
            if let hour, date.hour != hour {
                time = time &+ Int64(3600 - date.minute * 60 - date.second)
            } else if let minute, date.minute != minute {
                time = time &+ Int64(60 - date.second)
            } else if let second, date.second != second {
                time = time &+ 1
            } else {
                return time
            }
        }
        return nil
    }
}
