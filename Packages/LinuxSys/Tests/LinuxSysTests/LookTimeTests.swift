import Testing

@testable import LinuxSys

/// How long a loop looks before it waits, with 32 us at most.
@Suite struct LookTimeTests {
    private let longest: UInt64 = 32_000

    /// After waits of which each goes on for `more` nanoseconds behind the look.
    private func lookTime(after waits: Int, more: UInt64) -> LookTime {
        var time = LookTime()
        for _ in 0..<waits { time.waited(time.nanoseconds + more, longest: longest) }
        return time
    }

    @Test func idleLoop_doesNotLook() {
        var time = LookTime()
        #expect(time.nanoseconds == 0)
        time.waited(2_000_000, longest: longest)
        #expect(time.nanoseconds == 0)
        time.waited(10_000, longest: longest)
        #expect(time.nanoseconds > 0)
        time.waited(2_000_000, longest: longest)
        #expect(time.nanoseconds == 0)
    }

    @Test func busyLoop_looksForAMoment_howeverLongItsDiskTakes() {
        #expect(lookTime(after: 10, more: 100_000).nanoseconds == LookTime.moment)
    }

    @Test func look_growsWhileThatWouldHaveBroughtIt_andNotBeyondTheLongest() {
        var time = LookTime()
        for _ in 0..<10 { time.waited(20_000, longest: longest) }
        #expect(time.nanoseconds == 32_000)
        time = LookTime()
        for _ in 0..<10 { time.waited(6000, longest: longest) }
        #expect(time.nanoseconds == 8000)
    }

    @Test func look_isNeverLongerThanTheLongest_evenOfLessThanAMoment() {
        var time = LookTime()
        for wait in [500, 900, 1500, 100_000, 700] as [UInt64] {
            time.waited(wait, longest: 1000)
            #expect(time.nanoseconds <= 1000)
        }
    }

    /// What comes 6 us after the loop has stopped looking, however long that was, does so because it has stopped.
    @Test func whatComesOnlyOnceTheLoopWaits_makesLongLooksRare() {
        var time = LookTime(), longLooks = 0
        for round in 0..<2000 {
            if round >= 1000, time.nanoseconds > LookTime.moment { longLooks += 1 }
            time.waited(time.nanoseconds + 6000, longest: longest)
        }
        #expect(longLooks > 0)
        #expect(longLooks < 100)
    }

    @Test func longLookThatBringsSomething_isForgivenEarlierOnes() {
        var time = lookTime(after: 1000, more: 6000)
        #expect(time.failures > 1)
        time.found()
        #expect(time.failures == 0)
    }
}
