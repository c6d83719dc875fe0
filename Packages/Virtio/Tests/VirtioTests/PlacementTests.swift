import AddressSpace
import Devices
import Foundation
import HypervisorTesting
import LinuxSys
import Testing
@testable import Virtio

@Suite struct PlacementTests {
    private struct Board {
        let machine = TestVirtualMachine()
        let memory = AddressSpace(name: "memory", size: 1 << 40)
        let ports = AddressSpace(name: "ports", size: 1 << 16)
        let loop: EventLoop
        let bus: SysBus

        init(longestLook: UInt64 = 0) throws {
            loop = try EventLoop(longestLook: longestLook)
            bus = SysBus(memory: memory.root, ports: ports.root, machine: machine)
            try memory.addListener(machine.memoryListener())
        }

        /// RAM, and in it a queue of eight entries at 0x1000, 0x2000 and 0x3000.
        func start(_ device: VirtioMMIODevice) throws {
            let ram = try HostMemory.anonymous(size: 1 << 20)
            try memory.root.add(try Region.ram(name: "ram", size: 1 << 20, memory: ram), at: 0)
            let base = try #require(device.slot).base
            for (register, value) in [
                (.status, 3), (.driverFeaturesSelect, 0), (.driverFeatures, VirtioFeature.eventIndex), (.driverFeaturesSelect, 1), (.driverFeatures, 1), (.status, 11),
                (.queueSize, 8), (.queueDescriptorLow, 0x1000), (.queueDriverLow, 0x2000), (.queueDeviceLow, 0x3000), (.queueReady, 1), (.status, 15),
            ] as [(MMIORegister, UInt64)] { memory.write(at: base + register.rawValue, size: 4, value: value) }
        }
    }

    @Test func attach_placesRegistersInterruptAndNotification() throws {
        let board = try Board()
        let first = try VirtioMMIODevice.attach(VirtioBlock(storage: FakeStorage()), name: "disk0", to: board.bus, memory: board.memory.memory, loop: board.loop)
        let second = try VirtioMMIODevice.attach(VirtioBlock(storage: FakeStorage()), name: "disk1", to: board.bus, memory: board.memory.memory, loop: board.loop)
        #expect(first.slot?.base == 0xf010_0000)
        #expect(first.slot?.gsi == 5)
        #expect(second.slot?.base == 0xf010_0200)
        #expect(second.slot?.gsi == 6)
        #expect(board.memory.read(at: 0xf010_0000, size: 4) == 0x7472_6976)
        #expect(board.memory.read(at: 0xf010_0208, size: 4) == 2)
        let events = board.machine.memory.ioEventFDs.sorted { $0.address < $1.address }
        #expect(events.map(\.address) == [0xf010_0050, 0xf010_0250])
        #expect(events.allSatisfy { $0.size == 4 && $0.datamatch == 0 })
        first.detach()
        second.detach()
    }

    @Test func attach_withoutInterruptsLeft_leavesNothingBehind() throws {
        let board = try Board()
        var devices: [VirtioMMIODevice] = []
        var failure: VirtioMMIODevice.AttachError?
        for index in 0..<20 {
            do {
                devices.append(try VirtioMMIODevice.attach(VirtioBlock(storage: FakeStorage(sectors: 8)), name: "disk\(index)", to: board.bus, memory: board.memory.memory, loop: board.loop))
            } catch let error as VirtioMMIODevice.AttachError {
                failure = error
                break
            }
        }
        #expect(devices.count == SysBus.defaultInterrupts.count)
        #expect(failure == .bus(.interruptsExhausted(device: "disk17", limit: 17)))
        #expect(board.bus.slots.count == devices.count)
        for device in devices { device.detach() }
    }

    /// The whole path: guest writes to the bus, event loop on its own thread, interrupt.
    @Test func request_throughTheBusAndTheEventLoop_isServed() throws {
        let board = try Board()
        let ram = try HostMemory.anonymous(size: 1 << 20)
        try board.memory.root.add(try Region.ram(name: "ram", size: 1 << 20, memory: ram), at: 0)
        let storage = try FakeStorage()
        let device = try VirtioMMIODevice.attach(VirtioBlock(storage: storage), name: "disk", to: board.bus, memory: board.memory.memory, loop: board.loop)
        let base = try #require(device.slot).base
        func write(_ register: MMIORegister, _ value: UInt64) { board.memory.write(at: base + register.rawValue, size: 4, value: value) }
        let thread = try OSThread.start(name: "loop") { board.loop.run() }
        write(.status, 1)
        write(.status, 3)
        write(.driverFeaturesSelect, 1)
        write(.driverFeatures, 1)
        write(.status, 11)
        write(.queueSize, 8)
        write(.queueDescriptorLow, 0x1000)
        write(.queueDriverLow, 0x2000)
        write(.queueDeviceLow, 0x3000)
        write(.queueReady, 1)
        write(.status, 15)
        let memory = board.memory.memory
        for (index, part) in [(0x4000, 16, 1, 1), (0x5000, 512, 3, 2), (0x6000, 1, 2, 0)].enumerated() as EnumeratedSequence<[(UInt64, UInt32, UInt16, UInt16)]> {
            try memory.store(part.0, at: 0x1000 + UInt64(index) * 16)
            try memory.store(part.1, at: 0x1008 + UInt64(index) * 16)
            try memory.store(part.2, at: 0x100c + UInt64(index) * 16)
            try memory.store(part.3, at: 0x100e + UInt64(index) * 16)
        }
        try memory.store(UInt64(9), at: 0x4008)
        try memory.storeRelease16(1, at: 0x2002)
        write(.queueNotify, 0)
        let line = try #require(board.machine.lines.first)
        let limit = Date(timeIntervalSinceNow: 20)
        while line.pulses == 0, Date() < limit { usleep(1000) }
        #expect(line.pulses == 1)
        #expect(try memory.loadAcquire16(at: 0x3002) == 1)
        #expect(try memory.bytes(at: 0x5000, count: 512) == Array(storage.bytes[4608..<5120]))
        #expect(try memory.load(UInt8.self, at: 0x6000) == 0)
        board.loop.stop()
        thread.join()
        device.detach()
    }

    /// A loop that looks finds requests of which nobody has told it, and asks to be told before it waits.
    @Test func loopThatLooks_servesRequestsWithoutNotification() throws {
        let board = try Board(longestLook: 100_000)
        let memory = board.memory.memory
        let device = try VirtioMMIODevice.attach(VirtioBlock(storage: FakeStorage()), name: "disk", to: board.bus, memory: memory, loop: board.loop)
        try board.start(device)
        // A flush.
        for (index, part) in [(0x4000, 16, 1, 1), (0x6000, 1, 2, 0)].enumerated() as EnumeratedSequence<[(UInt64, UInt32, UInt16, UInt16)]> {
            try memory.store(part.0, at: 0x1000 + UInt64(index) * 16)
            try memory.store(part.1, at: 0x1008 + UInt64(index) * 16)
            try memory.store(part.2, at: 0x100c + UInt64(index) * 16)
            try memory.store(part.3, at: 0x100e + UInt64(index) * 16)
        }
        try memory.store(UInt32(4), at: 0x4000)
        // The notification after DRIVER_OK.
        for _ in 0..<4 { board.loop.runOnce(timeoutMilliseconds: 1) }
        for round in 1...3 as ClosedRange<UInt16> {
            let event = try memory.load(UInt16.self, at: 0x3004 + 8 * 8)
            #expect(event == round - 1, "armed")
            try memory.storeRelease16(round, at: 0x2002)
            let end = Clock.monotonicNanoseconds() + 20_000_000_000
            while try memory.loadAcquire16(at: 0x3002) != round, Clock.monotonicNanoseconds() < end { board.loop.runOnce(timeoutMilliseconds: 1) }
            #expect(try memory.loadAcquire16(at: 0x3002) == round)
            for _ in 0..<3 { board.loop.runOnce(timeoutMilliseconds: 1) }
        }
        device.detach()
        // Nobody looks at a device that has gone.
        try memory.storeRelease16(4, at: 0x2002)
        for _ in 0..<3 { board.loop.runOnce(timeoutMilliseconds: 1) }
        #expect(try memory.loadAcquire16(at: 0x3002) == 3)
    }

    /// One that may leave what is queued where it is, as a paused one does, would keep the loop busy.
    @Test func deviceThatDoesNotSayItMayBePolled_isNotLookedAt() throws {
        final class Leaver: VirtioDevice {
            let deviceType: UInt32 = 4
            let features = VirtioFeature.version1 | VirtioFeature.eventIndex
            let queueSizes: [UInt16] = [8]
            let eventSources: [Int32] = []
            var droppedRequests: UInt64 { calls }
            var calls: UInt64 = 0
            var session: VirtioSession?

            func readConfig(offset: Int, size: Int) -> UInt64 { 0 }
            func writeConfig(offset: Int, size: Int, value: UInt64) {}
            func activate(_ session: VirtioSession) { self.session = session }
            func queueNotified(_ index: Int) -> ServiceResult {
                calls += 1
                session?.queues[index]?.disableNotifications()
                _ = try? session?.queues[index]?.enableNotifications()
                return .idle
            }
            func eventSourceReady(_ descriptor: Int32) -> ServiceResult { .idle }
            func drain() -> ServiceResult { .idle }
            func reset() { session = nil }
        }
        let board = try Board(longestLook: 100_000)
        let device = try VirtioMMIODevice.attach(Leaver(), name: "leaver", to: board.bus, memory: board.memory.memory, loop: board.loop)
        try board.start(device)
        for _ in 0..<4 { board.loop.runOnce(timeoutMilliseconds: 1) }
        #expect(device.statistics.droppedRequests == 1)
        try board.memory.memory.storeRelease16(1, at: 0x2002)
        for _ in 0..<4 { board.loop.runOnce(timeoutMilliseconds: 1) }
        #expect(device.statistics.droppedRequests == 1)
        device.detach()
    }
}
