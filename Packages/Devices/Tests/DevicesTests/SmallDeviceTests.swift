import AddressSpace
import Hypervisor
import LinuxSys
import Synchronization
import Testing

@testable import Devices

private final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    func add() { count.add(1, ordering: .relaxed) }
    var value: Int { count.load(ordering: .relaxed) }
}

@Suite struct I8042Tests {
    @Test func rebootByKeyboard_seesAnEmptyInputBufferAndResetsAtOnce() {
        let resets = Counter()
        let device = I8042 { resets.add() }
        #expect(device.read(offset: 4, size: 1) & 0x02 == 0)
        device.write(offset: 4, size: 1, value: 0xFE)
        #expect(resets.value == 1)
    }

    @Test func linuxDriver_flushGivesUpAfter16Bytes() {
        let device = I8042 {}
        var reads = 0
        while device.read(offset: 4, size: 1) & 0x01 != 0, reads < 17 {
            _ = device.read(offset: 0, size: 1)
            reads += 1
        }
        #expect(reads == 17, "always full: no controller")
    }

    @Test func otherCommands_doNotReset() {
        let resets = Counter()
        let device = I8042 { resets.add() }
        for command in UInt64(0)...0xFF where command & 0xF1 != 0xF0 {
            device.write(offset: 4, size: 1, value: command)
            device.write(offset: 0, size: 1, value: command)
        }
        device.write(offset: 0, size: 1, value: 0xFE)
        #expect(resets.value == 0)
        #expect(device.read(offset: 1, size: 1) == 0x20)
    }
}

@Suite struct PowerControlTests {
    private func make() throws -> (AddressSpace, Counter, Counter) {
        let shutdowns = Counter()
        let resets = Counter()
        let ports = AddressSpace(name: "ports", size: 0x10000)
        try PowerControl(guestShutdown: { shutdowns.add() }, guestReset: { resets.add() }).attach(to: ports.root)
        return (ports, shutdowns, resets)
    }

    @Test func sleepControl_onlyS5WithEnable_powersOff() throws {
        let (ports, shutdowns, resets) = try make()
        for value in UInt64(0)...0xFF where value & 0x3C != 0x34 { ports.write(at: 0xCE9, size: 1, value: value) }
        #expect(shutdowns.value == 0)
        // Linux's acpi_hw_extended_sleep: clear the wake status, then type and enable.
        ports.write(at: 0xCEA, size: 1, value: 0x80)
        ports.write(at: 0xCE9, size: 1, value: 0x34)
        #expect(shutdowns.value == 1)
        #expect(resets.value == 0)
        #expect(ports.read(at: 0xCEA, size: 1) == 0)
    }

    @Test func resetRegister_acpiAndCF9Sequences_reset() throws {
        let (ports, shutdowns, resets) = try make()
        ports.write(at: 0xCF9, size: 1, value: UInt64(PowerControl.resetValue))
        #expect(resets.value == 1)
        ports.write(at: 0xCF9, size: 1, value: 0x02)
        #expect(resets.value == 1)
        #expect(ports.read(at: 0xCF9, size: 1) == 0x02)
        ports.write(at: 0xCF9, size: 1, value: 0x0E)
        #expect(resets.value == 2)
        #expect(shutdowns.value == 0)
    }
}

@Suite struct PowerButtonTests {
    @Test func press_setsTheEventUntilItIsRead() throws {
        let line = FakeLine(gsi: PowerButton.gsi)
        let button = PowerButton(line: line)
        let memory = AddressSpace(name: "memory", size: 1 << 32)
        try button.attach(to: memory.root)
        #expect(memory.read(at: 0xF000_0000, size: 4) == 0)
        button.press()
        button.press()
        #expect(line.pulses == 2)
        memory.write(at: 0xF000_0000, size: 4, value: 0)
        #expect(memory.read(at: 0xF000_0000, size: 4) == 1)
        #expect(memory.read(at: 0xF000_0000, size: 4) == 0)
    }
}

private final class FakeMachine: VirtualMachine {
    let refuse: UInt32?
    init(refuse: UInt32? = nil) { self.refuse = refuse }
    func createIRQChip() throws(HypervisorError) {}
    func makeInterruptLine(gsi: UInt32) throws(HypervisorError) -> any InterruptLine {
        if gsi == refuse { throw .noSuchInterruptLine(gsi: gsi, limit: gsi) }
        return FakeLine(gsi: gsi)
    }
    func memoryListener() -> any AddressSpaceListener { NoListener() }
    func portListener() -> any AddressSpaceListener { NoListener() }
    func createVCPU(id: UInt32) throws(HypervisorError) -> any VirtualCPU { throw .unsupported("vCPUs") }

    private final class NoListener: AddressSpaceListener {
        func regionsChanged(removed: [FlatRange], added: [FlatRange]) throws(AddressSpaceError) {}
        func ioEventFDsChanged(removed: [IOEventFD], added: [IOEventFD]) throws(AddressSpaceError) {}
    }
}

private final class Silent: RegionOps {
    func read(offset: UInt64, size: Int) -> UInt64 { 0x5A }
    func write(offset: UInt64, size: Int, value: UInt64) {}
}

@Suite struct SysBusTests {
    private func make(
        _ machine: FakeMachine = FakeMachine(), window: Range<UInt64> = SysBus.defaultWindow,
        interrupts: [UInt32] = SysBus.defaultInterrupts
    ) throws -> (SysBus, AddressSpace) {
        let memory = AddressSpace(name: "memory", size: 1 << 40)
        let ports = AddressSpace(name: "ports", size: 0x10000)
        return (
            SysBus(memory: memory.root, ports: ports.root, machine: machine, interrupts: interrupts, window: window), memory
        )
    }

    @Test func devices_inOrder_getAscendingWindowsAndInterrupts() throws {
        let (bus, memory) = try make()
        for index in 0..<17 {
            let slot = try bus.allocate(name: "device \(index)")
            #expect(slot.base == 0xF010_0000 + UInt64(index) * 0x200)
            #expect(slot.gsi == SysBus.defaultInterrupts[index])
            #expect(slot.line.gsi == slot.gsi)
            try bus.place(.io(name: slot.name, size: 0x200, ops: Silent()), in: slot)
            #expect(memory.read(at: slot.base + 0x1FF, size: 1) == 0x5A)
        }
        #expect(bus.slots.count == 17)
        #expect(!bus.slots.contains { $0.gsi == CMOSRTC.gsi || $0.gsi == PowerButton.gsi || $0.gsi == Serial16550.gsi })
        #expect(bus.slots.allSatisfy { $0.gsi < 24 }, "KVM's I/O APIC has 24 inputs")
        #expect(bus.slots[9].virtioMMIOCommandLineWord == "virtio_mmio.device=512@0xf0101200:15")
        #expect(bus.slots[10...].allSatisfy { $0.virtioMMIOCommandLineWord == nil && $0.acpiDevice.gsi == $0.gsi })
        #expect(bus.slots[0].virtioMMIOCommandLineWord == "virtio_mmio.device=512@0xf0100000:5")
        #expect(bus.slots[1].acpiDevice == .init(base: 0xF010_0200, size: 0x200, gsi: 6))
    }

    /// aarch64: no ports, and shared peripheral interrupts.
    @Test func aarch64_hasRoomForADeviceOnEachInterrupt() throws {
        let memory = AddressSpace(name: "memory", size: 1 << 40)
        let bus = SysBus(
            memory: memory.root, ports: nil, machine: FakeMachine(), interrupts: SysBus.aarch64Interrupts, window: SysBus.aarch64Window)
        for index in 0..<192 {
            let slot = try bus.allocate(name: "device \(index)")
            #expect(slot.base == 0x0A00_0000 + UInt64(index) * 0x200 && slot.gsi == 32 + UInt32(index))
            try bus.place(.io(name: slot.name, size: 0x200, ops: Silent()), in: slot)
        }
        #expect(throws: SysBusError.interruptsExhausted(device: "more", limit: 192)) { try bus.allocate(name: "more") }
        #expect(throws: SysBusError.noPorts(device: "x")) { try bus.placePorts(.io(name: "x", size: 1, ops: Silent()), at: 0) }
        #expect(bus.slots.allSatisfy { $0.virtioMMIOCommandLineWord == nil })
    }

    @Test func exhaustion_namesTheDevice() throws {
        let (bus, _) = try make()
        for index in 0..<17 { _ = try bus.allocate(name: "device \(index)") }
        #expect(throws: SysBusError.interruptsExhausted(device: "disk17", limit: 17)) { try bus.allocate(name: "disk17") }
        #expect(SysBusError.interruptsExhausted(device: "disk17", limit: 17).description == "no interrupt is left for device disk17: 17 devices fit")
        let (narrow, _) = try make(window: 0xF010_0000..<0xF010_0500)
        _ = try narrow.allocate(name: "a")
        _ = try narrow.allocate(name: "b")
        #expect(throws: SysBusError.addressesExhausted(device: "c")) { try narrow.allocate(name: "c") }
    }

    @Test func release_givesWindowAndInterruptBack() throws {
        let (bus, _) = try make()
        let slots = try (0..<17).map { try bus.allocate(name: "device \($0)") }
        bus.release(slots[3])
        bus.release(slots[3])
        let again = try bus.allocate(name: "again")
        #expect(again.base == slots[3].base && again.gsi == slots[3].gsi)
        #expect(throws: SysBusError.self) { try bus.allocate(name: "more") }
    }

    @Test func failedInterruptLine_leavesNothingReserved() throws {
        let (bus, _) = try make(FakeMachine(refuse: 5))
        #expect(throws: SysBusError.self) { try bus.allocate(name: "x") }
        #expect(bus.slots.isEmpty)
    }

    @Test func oversizedRegion_isRefused() throws {
        let (bus, _) = try make()
        let slot = try bus.allocate(name: "big")
        #expect(throws: SysBusError.regionTooLarge(device: "big")) {
            try bus.place(.io(name: "big", size: 0x400, ops: Silent()), in: slot)
        }
    }
}

/// Accesses of every size at every offset, also outside the region, and every value: nothing may trap or hang.
@Suite struct HostileAccessTests {
    @Test func everyDevice_everyOffsetAndSize_survives() {
        let power = PowerControl(guestShutdown: {}, guestReset: {})
        let clock = FakeClock(seconds: 1_700_000_000)
        let serialLine = FakeLine()
        let devices: [(name: String, size: UInt64, ops: any RegionOps)] =
            power.registers.map { ($0.name, UInt64($0.size), $0.ops) } + [
                ("serial", 8, Serial16550(line: serialLine, backend: FakeBackend())),
                ("i8042", 5, I8042 {}),
                ("rtc", 2, CMOSRTC(line: FakeLine(), loop: nil, now: { clock.now })),
                ("button", 4, PowerButton(line: FakeLine())),
            ]
        let values: [UInt64] = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x8000_0000, 0xDEAD_BEEF_CAFE_F00D, .max]
        for device in devices {
            for offset in Array(0...device.size + 8) + [.max, .max - 3, 1 << 32] {
                for size in [Int.min, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, Int.max] {
                    for value in values {
                        device.ops.write(offset: offset, size: size, value: value)
                        _ = device.ops.read(offset: offset, size: size)
                    }
                }
            }
        }
    }

    @Test func rtc_everyRegisterAndValue_survives() {
        let clock = FakeClock(seconds: 1_700_000_000)
        let rtc = CMOSRTC(line: FakeLine(), loop: nil, now: { clock.now })
        for control in UInt64(0)...0xFF {
            rtc.write(offset: 0, size: 1, value: 0x0B)
            rtc.write(offset: 1, size: 1, value: control)
            for index in UInt64(0)...0x7F where index != 0x0B {
                rtc.write(offset: 0, size: 1, value: index)
                for value in [0, 0x09, 0x0A, 0x12, 0x59, 0x60, 0x80, 0xC0, 0xFF] as [UInt64] {
                    rtc.write(offset: 1, size: 1, value: value)
                    _ = rtc.read(offset: 1, size: 1)
                }
            }
            clock.advance(nanoseconds: 777_777_777)
            rtc.timerFired()
        }
    }

    @Test func rtc_hostClockAtTheEdges_survives() {
        for start in [0, UInt64.max, UInt64.max - 1, UInt64(Int64.max)] {
            let time = Mutex(start)
            let rtc = CMOSRTC(line: FakeLine(), loop: nil, now: { time.withLock { $0 } })
            for step in [UInt64.max, 1, 1 << 63] {
                for index in UInt64(0)...0x0D {
                    rtc.write(offset: 0, size: 1, value: index)
                    rtc.write(offset: 1, size: 1, value: 0x31)
                    _ = rtc.read(offset: 1, size: 1)
                }
                time.withLock { $0 &+= step }
            }
        }
    }

    @Test func serial_randomTraffic_neverLosesTheInterrupt() {
        // A guest that follows the rules sees every byte by interrupts alone, whatever came before.
        var seed: UInt64 = 42
        func next() -> UInt64 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return seed >> 33
        }
        let line = FakeLine()
        let port = Serial16550(line: line, backend: FakeBackend())
        for _ in 0..<200 {
            for _ in 0..<50 {
                switch next() % 3 {
                case 0: port.write(offset: next() % 8, size: 1, value: next() & 0xFF)
                case 1: _ = port.read(offset: next() % 8, size: 1)
                default: port.receive([UInt8(next() & 0xFF)])
                }
            }
            for (offset, value) in [(3, 0), (4, 0x0B), (1, 0), (2, 0x07)] as [(UInt64, UInt64)] {
                port.write(offset: offset, size: 1, value: value)
            }
            while port.read(offset: 5, size: 1) & 1 != 0 { _ = port.read(offset: 0, size: 1) }
            for offset in [2, 6] as [UInt64] { _ = port.read(offset: offset, size: 1) }
            port.write(offset: 1, size: 1, value: 1)
            _ = line.take()
            port.receive([0x77])
            #expect(line.take() == 1)
            #expect(port.read(offset: 0, size: 1) == 0x77)
        }
    }
}
