/// A date and time of the proleptic Gregorian calendar, UTC, years 0...9999.
struct CalendarTime: Equatable {
    var year: Int
    var month: Int
    var day: Int
    var hour: Int
    var minute: Int
    var second: Int

    /// 0 = Sunday.
    var weekday: Int { Self.floorModulo(Self.days(year, month, day) + 4, 7) }

    /// Seconds since 1970-01-01 00:00:00; nil when a field is out of range or the month has no such day.
    var seconds: Int64? {
        guard (0...9999).contains(year), (1...12).contains(month), (1...Self.length(ofMonth: month, year)).contains(day),
            (0...23).contains(hour), (0...59).contains(minute), (0...59).contains(second)
        else { return nil }
        return Int64(Self.days(year, month, day)) * 86400 + Int64(hour * 3600 + minute * 60 + second)
    }

    init(year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int) {
        self.year = year
        self.month = month
        self.day = day
        self.hour = hour
        self.minute = minute
        self.second = second
    }

    /// Times outside the years 0...9999 become the nearest one inside.
    init(seconds: Int64) {
        let clamped = min(max(seconds, Self.earliest), Self.latest)
        let ofDay = Int(Self.floorModulo(Int(clamped), 86400))
        let days = (Int(clamped) - ofDay) / 86400
        // A first guess from the mean length of a year is off by at most one.
        var year = 1970 + Int((Double(days) / 365.2425).rounded(.down))
        while Self.days(year, 1, 1) > days { year -= 1 }
        while Self.days(year + 1, 1, 1) <= days { year += 1 }
        var rest = days - Self.days(year, 1, 1)
        var month = 1
        while month < 12, rest >= Self.length(ofMonth: month, year) {
            rest -= Self.length(ofMonth: month, year)
            month += 1
        }
        self.init(
            year: year, month: month, day: rest + 1, hour: ofDay / 3600, minute: ofDay / 60 % 60, second: ofDay % 60)
    }

    /// 0000-01-01 00:00:00 and 9999-12-31 23:59:59.
    static let earliest: Int64 = -62_167_219_200
    static let latest: Int64 = 253_402_300_799

    static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    static func length(ofMonth month: Int, _ year: Int) -> Int {
        switch month {
        case 2: isLeap(year) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Days from 1970-01-01 to the given date of a valid month.
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let before = year - 1
        var days = before * 365 + floorDivide(before, 4) - floorDivide(before, 100) + floorDivide(before, 400) - 719_162
        for earlier in 1..<max(month, 1) { days += length(ofMonth: earlier, year) }
        return days + day - 1
    }

    private static func floorModulo(_ value: Int, _ divisor: Int) -> Int {
        let rest = value % divisor
        return rest < 0 ? rest + divisor : rest
    }

    private static func floorDivide(_ value: Int, _ divisor: Int) -> Int {
        (value - floorModulo(value, divisor)) / divisor
    }
}
