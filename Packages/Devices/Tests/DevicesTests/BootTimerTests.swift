import AddressSpace
import LinuxSys
import Synchronization
import Testing

@testable import Devices

@Suite struct BootTimerTests {
    private let time = Time()
    private let timer: BootTimer

    private final class Time: Sendable {
        let now = Atomic<UInt64>(0)
        func set(_ nanoseconds: UInt64) { now.store(nanoseconds, ordering: .relaxed) }
    }

    init() {
        let time = time
        timer = BootTimer { time.now.load(ordering: .relaxed) }
    }

    @Test func marks_areSetByOneAndTwo_andTheFirstCounts() {
        #expect(timer.marks == BootTimer.Marks())
        time.set(5_000_000)
        timer.write(offset: 0, size: 1, value: 1)
        time.set(9_000_000)
        timer.write(offset: 0, size: 1, value: 2)
        #expect(timer.marks == BootTimer.Marks(kernel: 5_000_000, initialProcess: 9_000_000))
        // A guest that repeats itself a million times writes no line and moves nothing.
        time.set(11_000_000)
        for _ in 0..<1000 { for value in 0...255 as ClosedRange<UInt64> { timer.write(offset: 0, size: 1, value: value) } }
        #expect(timer.marks == BootTimer.Marks(kernel: 5_000_000, initialProcess: 9_000_000))
    }

    /// Linux's 8250 driver (autoconfig): what it writes there it must read back.
    @Test func scratchRegister_keepsEveryByte() {
        #expect(timer.read(offset: 0, size: 1) == 0)
        for value in [0xa5, 0x5a, 1, 2, 0, 0xff] as [UInt64] {
            timer.write(offset: 0, size: 1, value: value)
            #expect(timer.read(offset: 0, size: 1) == value)
        }
    }

    /// With a serial port and without, attached before it or after.
    @Test(arguments: [nil, true, false] as [Bool?]) func port_answersInFrontOfTheSerialPort(isSerialFirst: Bool?) throws {
        let ports = AddressSpace(name: "ports", size: 1 << 16)
        let serial = Serial16550(line: FakeLine(), backend: FakeBackend())
        if isSerialFirst == true { try serial.attach(to: ports.root) }
        try timer.attach(to: ports.root)
        if isSerialFirst == false { try serial.attach(to: ports.root) }
        time.set(7)
        #expect(ports.write(at: 0x3ff, size: 1, value: 1))
        #expect(timer.marks.kernel == 7)
        #expect(ports.read(at: 0x3ff, size: 1) == 1)
        // The line status register: the transmitter is empty.
        #expect(ports.read(at: 0x3fd, size: 1) == (isSerialFirst == nil ? nil : 0x60))
    }

    /// As on aarch64, in front of what else is there.
    @Test func word_countsByItsLowestByte() throws {
        let memory = AddressSpace(name: "memory", size: 1 << 40)
        try memory.root.add(.io(name: "uart", size: 0x1000, ops: I8042(reset: {})), at: 0x0900_0000)
        try timer.attach(toMemory: memory.root)
        time.set(3)
        #expect(memory.write(at: 0x0900_0f01, size: 1, value: 1))
        #expect(timer.marks == BootTimer.Marks())
        #expect(memory.write(at: 0x0900_0f00, size: 4, value: 0xffff_ff01))
        time.set(4)
        #expect(memory.write(at: 0x0900_0f00, size: 4, value: 2))
        #expect(timer.marks == BootTimer.Marks(kernel: 3, initialProcess: 4))
        #expect(memory.read(at: 0x0900_0f00, size: 4) == 2)
    }
}
