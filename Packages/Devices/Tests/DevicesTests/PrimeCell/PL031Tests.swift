import LinuxSys
import Synchronization
import Testing

@testable import Devices

@Suite struct PL031Tests {
    private static let start: Int64 = 1_800_000_000
    private let clock = FakeClock(seconds: start, nanoseconds: 250_000_000)
    private let line = FakeLine()
    private let rtc: PL031

    init() {
        let clock = clock
        rtc = PL031(line: line, loop: nil) { clock.now }
    }

    private var now: UInt32 { rtc.word(0x000) }

    @Test func reset_registers_areAsWhereFirmwareStartedTheClock() {
        #expect(now == UInt32(Self.start))
        #expect([0x004, 0x008, 0x00C, 0x010, 0x014, 0x018, 0x01C, 0x020, 0x030].map(rtc.word) == [0, 0, 1, 0, 0, 0, 0, 0, 0])
        rtc.set(0x00C, 0)
        clock.advance(seconds: 1)
        #expect(rtc.word(0x00C) == 1 && now == UInt32(Self.start) + 1, "what runs cannot be stopped")
        rtc.set(0x000, 5)
        #expect(now == UInt32(Self.start) + 1, "read only")
    }

    @Test func loadedTime_runsOn_withTheHostsSeconds_andWraps() {
        rtc.set(0x008, UInt32.max - 1)
        #expect(now == UInt32.max - 1 && rtc.word(0x008) == UInt32.max - 1)
        clock.advance(nanoseconds: 749_999_999)
        #expect(now == UInt32.max - 1)
        clock.advance(nanoseconds: 1)
        #expect(now == .max)
        clock.advance(seconds: 2)
        #expect(now == 1)
    }

    /// pl031_set_alarm and pl031_interrupt of Linux's rtc-pl031.
    @Test func alarm_asLinuxSetsIt_isALevelUntilCleared() {
        rtc.set(0x004, now + 10)
        rtc.set(0x01C, 1)
        rtc.set(0x010, rtc.word(0x010) | 1)
        clock.advance(seconds: 9)
        rtc.timerFired()
        #expect(!line.level && rtc.word(0x014) == 0)
        clock.advance(seconds: 1)
        rtc.timerFired()
        #expect(line.level && rtc.word(0x014) == 1 && rtc.word(0x018) == 1)
        clock.advance(seconds: 100)
        rtc.timerFired()
        #expect(line.level && line.levelCalls == 1)
        rtc.set(0x01C, 1)
        #expect(!line.level && rtc.word(0x018) == 0)
        clock.advance(seconds: 1)
        rtc.timerFired()
        #expect(!line.level, "it comes once")
    }

    @Test func maskedAlarm_shows_andInterruptsWhenUnmasked() {
        rtc.set(0x004, now + 1)
        clock.advance(seconds: 5)
        #expect(rtc.word(0x014) == 1 && rtc.word(0x018) == 0 && !line.level)
        rtc.set(0x010, .max)
        #expect(rtc.word(0x010) == 1 && line.level)
        rtc.set(0x010, 0)
        #expect(!line.level && rtc.word(0x014) == 1)
    }

    @Test func alarmForNow_comesAtOnce_andForThePastInAnotherRound() {
        rtc.set(0x010, 1)
        rtc.set(0x004, now)
        #expect(line.level)
        rtc.set(0x01C, 1)
        rtc.set(0x004, now - 1)
        clock.advance(seconds: 1_000_000)
        rtc.timerFired()
        #expect(!line.level)
        clock.advance(seconds: 1 << 32)
        rtc.timerFired()
        #expect(line.level)
    }

    /// The host's administrator sets its clock.
    @Test func hostClockThatSteps_neverLosesAnAlarm_norRepeatsWhatWasBeforeIt() {
        rtc.set(0x010, 1)
        rtc.set(0x004, now + 100)
        clock.advance(seconds: 10_000)
        #expect(rtc.word(0x014) == 1, "a step over the alarm")
        rtc.set(0x01C, 1)
        rtc.set(0x004, now + 100)
        clock.stepBack(seconds: 50)
        rtc.timerFired()
        #expect(!line.level)
        clock.advance(seconds: 149)
        rtc.timerFired()
        #expect(!line.level)
        clock.advance(seconds: 1)
        rtc.timerFired()
        #expect(line.level)
    }

    @Test func alarm_isRaisedByTheLoop() throws {
        let loop = try EventLoop()
        let rtc = PL031(line: line, loop: loop)
        rtc.set(0x004, rtc.word(0) + 1)
        rtc.set(0x010, 1)
        for _ in 0..<20 where !line.level { loop.runOnce(timeoutMilliseconds: 2000) }
        #expect(line.level && rtc.word(0x018) == 1)
    }
}
