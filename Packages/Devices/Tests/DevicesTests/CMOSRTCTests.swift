import Synchronization
import Testing

@testable import Devices

private func seconds(_ year: Int, _ month: Int, _ day: Int, _ hour: Int = 0, _ minute: Int = 0, _ second: Int = 0) -> Int64 {
    CalendarTime(year: year, month: month, day: day, hour: hour, minute: minute, second: second).seconds ?? .min
}

extension CMOSRTC {
    fileprivate func get(_ index: UInt8) -> UInt8 {
        write(offset: 0, size: 1, value: UInt64(index))
        return UInt8(truncatingIfNeeded: read(offset: 1, size: 1))
    }

    fileprivate func set(_ index: UInt8, _ value: UInt8) {
        write(offset: 0, size: 1, value: UInt64(index))
        write(offset: 1, size: 1, value: UInt64(value))
    }

    /// century, year, month, day, hour, minute, second, weekday: raw.
    fileprivate var raw: [UInt8] { [0x32, 9, 8, 7, 4, 2, 0, 6].map(get) }

    /// As Linux's mc146818_set_time does it.
    fileprivate func setTime(_ values: [UInt8]) {
        let control = get(0x0B)
        set(0x0B, control | 0x80)
        let frequency = get(0x0A) & 0x7F
        set(0x0A, frequency | 0x70)
        for (index, value) in zip([0x32, 9, 8, 7, 4, 2, 0] as [UInt8], values) { set(index, value) }
        set(0x0B, control)
        set(0x0A, frequency)
    }
}

@Suite struct CalendarTests {
    @Test func secondsAndBack_everyDayOf400Years_agree() {
        var expected = seconds(1900, 1, 1)
        for year in 1900..<2301 {
            for month in 1...12 {
                for day in 1...CalendarTime.length(ofMonth: month, year) {
                    #expect(seconds(year, month, day) == expected)
                    let back = CalendarTime(seconds: expected)
                    if back.year != year || back.month != month || back.day != day { Issue.record("\(year)-\(month)-\(day)") }
                    expected += 86400
                }
            }
        }
    }

    @Test func knownDates_convert() {
        #expect(seconds(1970, 1, 1) == 0)
        #expect(seconds(2000, 2, 29, 23, 59, 59) == 951_868_799)
        #expect(seconds(2026, 11, 22, 18, 17, 0) == 1_795_371_420)
        #expect(seconds(0, 1, 1) == CalendarTime.earliest)
        #expect(seconds(9999, 12, 31, 23, 59, 59) == CalendarTime.latest)
        #expect(CalendarTime(seconds: .min).year == 0)
        #expect(CalendarTime(seconds: .max).year == 9999)
        #expect(CalendarTime(seconds: 0).weekday == 4)
        #expect(CalendarTime(seconds: -1).weekday == 3)
    }

    @Test func impossibleDates_areNil() {
        for (month, day) in [(2, 30), (0, 1), (13, 1), (4, 31), (1, 0), (1, 32)] {
            #expect(CalendarTime(year: 2024, month: month, day: day, hour: 0, minute: 0, second: 0).seconds == nil)
        }
        #expect(CalendarTime(year: 1900, month: 2, day: 29, hour: 0, minute: 0, second: 0).seconds == nil)
        #expect(CalendarTime(year: 2023, month: 2, day: 29, hour: 0, minute: 0, second: 0).seconds == nil)
        #expect(CalendarTime(year: 2024, month: 1, day: 1, hour: 24, minute: 0, second: 0).seconds == nil)
    }
}

@Suite struct CMOSRTCTests {
    private func make(_ start: Int64, _ line: FakeLine? = nil) -> (CMOSRTC, FakeClock) {
        let clock = FakeClock(seconds: start)
        return (CMOSRTC(line: line, loop: nil, now: { clock.now }), clock)
    }

    @Test func time_inBCD_isHostUTC() {
        let (rtc, _) = make(seconds(2024, 2, 29, 23, 58, 7))
        #expect(rtc.raw == [0x20, 0x24, 0x02, 0x29, 0x23, 0x58, 0x07, 5])
    }

    @Test func time_inBinaryAnd12Hours_followsRegisterB() {
        let (rtc, _) = make(seconds(2024, 2, 29, 23, 58, 7))
        rtc.set(0x0B, 0x06)
        #expect(rtc.raw == [20, 24, 2, 29, 23, 58, 7, 5])
        rtc.set(0x0B, 0x04)
        #expect(rtc.get(4) == 0x80 | 11)
        rtc.set(0x0B, 0x00)
        #expect(rtc.get(4) == 0x80 | 0x11)
        let (noon, _) = make(seconds(2024, 1, 1, 12))
        noon.set(0x0B, 0x00)
        #expect(noon.get(4) == 0x92)
        let (midnight, _) = make(seconds(2024, 1, 1, 0))
        midnight.set(0x0B, 0x00)
        #expect(midnight.get(4) == 0x12)
    }

    @Test func setTime_asLinuxDoes_runsOnFromThere() {
        let (rtc, clock) = make(seconds(2024, 6, 1))
        rtc.setTime([0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58])
        #expect(rtc.raw == [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58, 6])
        clock.advance(nanoseconds: 499_000_000)
        #expect(rtc.get(0) == 0x58)
        // Half a second after the divider chain is released the second changes.
        clock.advance(nanoseconds: 2_000_000)
        #expect(rtc.get(0) == 0x59)
        clock.advance(seconds: 1)
        #expect(rtc.raw == [0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 7])
    }

    @Test func leapDays_rollOver() {
        for (year, last) in [(2023, 28), (2024, 29), (2000, 29), (2100, 28)] {
            let (rtc, clock) = make(seconds(year, 2, last, 23, 59, 59))
            rtc.set(0x0B, 0x06)
            #expect(rtc.raw[2...3] == [2, UInt8(last)])
            clock.advance(seconds: 1)
            #expect(rtc.raw[2...3] == [3, 1])
        }
    }

    @Test func impossibleTime_isIgnored() {
        let (rtc, _) = make(seconds(2024, 6, 1, 10))
        for bad in [
            [0x20, 0x24, 0x02, 0x30, 0, 0, 0], [0x20, 0x24, 0x13, 0x01, 0, 0, 0], [0x20, 0x24, 0x1, 0x01, 0x24, 0, 0],
            [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], [0x20, 0x24, 0, 0, 0, 0, 0x6A],
        ] as [[UInt8]] {
            rtc.setTime(bad)
            #expect(rtc.raw == [0x20, 0x24, 0x06, 0x01, 0x10, 0x00, 0x00, 7])
        }
    }

    @Test func stoppedClock_holdsAndShowsWhatWasWritten() {
        let (rtc, clock) = make(seconds(2024, 6, 1))
        rtc.set(0x0B, 0x82)
        rtc.set(0, 0x33)
        clock.advance(seconds: 100)
        #expect(rtc.get(0) == 0x33)
        #expect(rtc.get(0x0A) & 0x80 == 0)
    }

    @Test func updateInProgress_onlyAtTheEndOfASecond() {
        let (rtc, clock) = make(seconds(2024, 6, 1))
        #expect(rtc.get(0x0A) == 0x26)
        clock.advance(nanoseconds: 999_700_000)
        #expect(rtc.get(0x0A) == 0x26)
        clock.advance(nanoseconds: 100_000)
        #expect(rtc.get(0x0A) == 0xA6)
        clock.advance(nanoseconds: 200_000)
        #expect(rtc.get(0x0A) == 0x26)
        #expect(rtc.get(0x0D) == 0x80)
    }

    @Test func nvram_keepsWhatIsWritten_statusDDoesNot() {
        let (rtc, _) = make(0)
        for index in UInt8(0x0E)...0x7F where index != 0x32 {
            rtc.set(index, index ^ 0x5A)
            #expect(rtc.get(index) == index ^ 0x5A)
        }
        rtc.set(0x0D, 0)
        #expect(rtc.get(0x0D) == 0x80)
        #expect(rtc.read(offset: 0, size: 1) == 0xFF)
        // Bit 7 of the index is the NMI mask.
        rtc.set(0x0E | 0x80, 0x12)
        #expect(rtc.get(0x0E) == 0x12)
    }

    @Test func updateInterrupt_onceASecond_untilRegisterCIsRead() {
        let line = FakeLine()
        let (rtc, clock) = make(seconds(2024, 6, 1), line)
        rtc.set(0x0B, 0x12)
        #expect(line.take() == 0)
        clock.advance(seconds: 1)
        rtc.timerFired()
        #expect(line.take() == 1)
        clock.advance(seconds: 1)
        rtc.timerFired()
        #expect(line.take() == 0)
        #expect(rtc.get(0x0C) == 0x90)
        #expect(rtc.get(0x0C) == 0)
        clock.advance(seconds: 1)
        rtc.timerFired()
        #expect(line.take() == 1)
    }

    @Test func alarm_atItsTime_raisesIRQ8() {
        let line = FakeLine()
        let (rtc, clock) = make(seconds(2024, 6, 1, 23, 59, 50), line)
        rtc.set(5, 0x00)
        rtc.set(3, 0x00)
        rtc.set(1, 0x05)
        rtc.set(0x0B, 0x22)
        clock.advance(seconds: 14)
        rtc.timerFired()
        #expect(line.take() == 0)
        clock.advance(seconds: 1)
        rtc.timerFired()
        #expect(line.take() == 1)
        #expect(rtc.get(0x0C) == 0xB0)
    }

    @Test func alarm_wildcardsAndNonsense_areHandled() {
        let line = FakeLine()
        let (rtc, clock) = make(seconds(2024, 6, 1), line)
        for register in [1, 3, 5] as [UInt8] { rtc.set(register, 0xFF) }
        rtc.set(0x0B, 0x22)
        clock.advance(seconds: 1)
        rtc.timerFired()
        #expect(line.take() == 1)
        _ = rtc.get(0x0C)
        rtc.set(1, 0x7A)  // no BCD number: never matches
        for _ in 0..<3 {
            clock.advance(seconds: 100)
            rtc.timerFired()
        }
        #expect(line.take() == 0)
    }
}
