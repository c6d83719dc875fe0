import Testing

@testable import Devices

/// gpio-pl061 and gpio-keys of Linux, as far as one key is concerned; time passes when the test says so.
private final class LinuxKeys {
    private let gpio: PL061PowerKey
    private let line: FakeLine
    private var debounceIsRunning = false
    private(set) var events: [Int] = []
    private var isDown = 0

    init(_ gpio: PL061PowerKey, _ line: FakeLine) { (self.gpio, self.line) = (gpio, line) }

    private func get(_ offset: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: gpio.read(offset: offset, size: 1)) }
    private func put(_ offset: UInt64, _ value: UInt8) { gpio.write(offset: offset, size: 1, value: UInt64(value)) }

    /// pl061_probe.
    func probeController() { put(0x410, 0) }

    /// gpio_keys_setup_key: an input whose both edges interrupt.
    func probeKeys() {
        put(0x400, get(0x400) & ~8)
        put(0x404, get(0x404) & ~8)
        put(0x408, get(0x408) | 8)
        put(0x40C, get(0x40C))
        put(0x41C, 8)
        put(0x410, get(0x410) | 8)
    }

    /// gpio_keys_report_state, when somebody opens the input device.
    func open() { report() }

    /// pl061_irq_handler, handle_edge_irq, gpio_keys_gpio_isr. False: the line stayed high.
    func serve() -> Bool {
        for _ in 0..<10 where line.level {
            if get(0x418) & 8 != 0 {
                put(0x41C, 8)
                debounceIsRunning = true
            }
        }
        return !line.level
    }

    /// Five milliseconds later.
    func debounce() {
        guard debounceIsRunning else { return }
        debounceIsRunning = false
        report()
    }

    private func report() {
        let state = get(0x020) != 0 ? 1 : 0
        if state != isDown { events.append(state) }
        isDown = state
    }

    func settle() -> Bool {
        for _ in 0..<10 {
            if !serve() { return false }
            debounce()
        }
        return !line.level
    }
}

@Suite struct PL061PowerKeyTests {
    private let line = FakeLine()
    private let key: PL061PowerKey
    private let linux: LinuxKeys

    init() {
        key = PL061PowerKey(line: line)
        linux = LinuxKeys(key, line)
    }

    @Test func press_isDownAndUp_eachTime() {
        linux.probeController()
        linux.probeKeys()
        linux.open()
        #expect(linux.events.isEmpty)
        for count in 1...5 {
            key.press()
            #expect(line.level)
            #expect(linux.settle())
            #expect(linux.events == Array(repeating: [1, 0], count: count).flatMap { $0 })
        }
    }

    /// Somebody reads the pins before the driver has served its interrupt: the key must still be down when the driver looks.
    @Test func otherReaders_doNotTakeThePressAway() {
        linux.probeController()
        linux.probeKeys()
        key.press()
        #expect(key.word(0x3FC) == 8 && key.word(0x020) == 8)
        #expect(key.word(0x010) == 0, "without pin 3 in its address")
        #expect(linux.serve())
        #expect(key.word(0x3DC) == 0)
        linux.debounce()
        #expect(linux.events == [1])
        #expect(linux.settle() && linux.events == [1, 0])
    }

    /// At any point of the guest's start, the press is seen once there is somebody to see it.
    @Test(arguments: 0...3) func earlyPress_isSeenWhenTheKeyIsOpened(moment: Int) {
        if moment == 0 { key.press() }
        linux.probeController()
        if moment == 1 { key.press() }
        linux.probeKeys()
        if moment == 2 { key.press() }
        linux.open()
        if moment == 3 { key.press() }
        #expect(linux.settle() && linux.events == [1, 0])
        key.press()
        #expect(linux.settle() && linux.events == [1, 0, 1, 0])
    }

    @Test func pressesWithoutADriver_wedgeNothing() {
        for _ in 0..<1000 { key.press() }
        #expect(line.levelCalls == 0)
        linux.probeController()
        linux.probeKeys()
        #expect(linux.settle() && linux.events.isEmpty)
        key.press()
        #expect(linux.settle() && linux.events == [1, 0], "also when nobody opened the key")
    }

    @Test func secondPressWhileHeld_isOneMorePressOrTheSame() {
        linux.probeController()
        linux.probeKeys()
        key.press()
        #expect(linux.serve())
        key.press()
        #expect(linux.settle() && linux.events == [1, 0])
    }

    /// A driver that polls, and one that wants a level.
    @Test func press_withoutEdgeInterrupts_endsWithTheFirstRead() {
        key.press()
        #expect(key.word(0x020) == 8 && key.word(0x020) == 0)
        key.set(0x404, 8)
        key.set(0x40C, 8)
        key.set(0x410, 8)
        #expect(!line.level)
        key.press()
        #expect(line.level && key.word(0x414) == 8)
        key.set(0x41C, 8)
        #expect(line.level, "a level is not cleared")
        #expect(key.word(0x020) == 8 && !line.level)
    }

    // MARK: Registers

    @Test func registers_keepWhatIsWritten() {
        for offset in [0x400, 0x404, 0x408, 0x40C, 0x410, 0x420] as [UInt64] {
            #expect(key.word(offset) == 0)
            key.set(offset, 0x1A5)
            #expect(key.word(offset) == 0xA5, "\(String(offset, radix: 16))")
            key.set(offset, 0)
        }
        for offset in [0x41C, 0x424, 0x600, 0xFDC] as [UInt64] {
            key.set(offset, 0xFF)
            #expect(key.word(offset) == 0)
        }
    }

    @Test func data_isMaskedByTheAddress_andInputsCannotBeWritten() {
        key.set(0x400, 0xF0)
        key.set(0x3FC, 0xFF)
        #expect(key.word(0x3FC) == 0xF0)
        key.set(0x30 << 2, 0)
        #expect(key.word(0x3FC) == 0xC0)
        #expect(key.word(0x41 << 2) == 0x40)
        key.set(0x000, 0xFF)
        #expect(key.word(0x000) == 0 && key.word(0x3FC) == 0xC0)
    }

    /// Each way to be triggered, with an output pin that the guest toggles.
    @Test(arguments: [(both: false, rising: true), (false, false), (true, false)]) func edges_latchUntilCleared(both: Bool, rising: Bool) {
        key.set(0x400, 0x01)
        key.set(0x408, both ? 1 : 0)
        key.set(0x40C, rising ? 1 : 0)
        key.set(0x004, 1)
        #expect(key.word(0x414) & 1 == (both || rising ? 1 : 0))
        key.set(0x41C, 1)
        #expect(key.word(0x414) & 1 == 0)
        key.set(0x004, 0)
        #expect(key.word(0x414) & 1 == (both || !rising ? 1 : 0))
        #expect(!line.level && key.word(0x418) == 0)
        key.set(0x410, 1)
        #expect(line.level == (both || !rising))
        key.set(0x41C, 1)
        #expect(!line.level)
    }

    @Test func levels_followThePin() {
        key.set(0x404, 0x02)
        #expect(key.word(0x414) == 2, "low is the level")
        key.set(0x40C, 0x02)
        #expect(key.word(0x414) == 0)
        key.set(0x410, 0x02)
        key.set(0x400, 0x02)
        key.set(0x008, 2)
        #expect(line.level && key.word(0x418) == 2)
        key.set(0x008, 0)
        #expect(!line.level && key.word(0x418) == 0)
    }
}
