import LinuxSys
import Testing

@Suite struct ProgramStartTests {
    @Test func elapsed_countsFromTheNote() {
        ProgramStart.note()
        // What was used of processors by then is taken off.
        #expect(ProgramStart.time > 0 && ProgramStart.time <= Clock.monotonicNanoseconds())
        Clock.sleep(nanoseconds: 2_000_000)
        let elapsed = ProgramStart.elapsed
        #expect(elapsed >= 2_000_000 && elapsed <= Clock.monotonicNanoseconds() - ProgramStart.time)
    }

    @Test(arguments: [(0, "0.000"), (999, "0.000"), (1000, "0.001"), (12_345_678, "12.345"), (1_002_000_999, "1002.000"), (.max, "18446744073709.551")] as [(UInt64, String)])
    func milliseconds_haveThreeDecimals(_ nanoseconds: UInt64, _ text: String) {
        #expect(Clock.milliseconds(nanoseconds) == text)
    }

    @Test func counter_countsAndWraps() {
        let counter = Counter()
        #expect(counter.value == 0)
        counter.add()
        counter.add(UInt64.max)
        #expect(counter.value == 0)
        counter.subtract(1)
        #expect(counter.value == UInt64.max)
    }
}
