import AddressSpace
import BlockBackend
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Requests that make no sense, and too many of them.
@Suite struct HostileBlockTests {
    @Test func class10_chainsWithoutHeaderOrStatus_areGivenBackAndCounted() throws {
        let guest = try Guest()
        try guest.start()
        let bad: [[Buffer]] = [
            [.readable(Guest.Place.header, 15), .writable(Guest.Place.status, 1)],
            [.readable(Guest.Place.header, 16)],
            [.readable(Guest.Place.header, 4096)],
            [.writable(Guest.Place.status, 1)],
            [.writable(Guest.Place.data, 512)],
            [.readable(Guest.Place.header, 0)],
            [.readable(Guest.Place.header, 16), .writable(Guest.Place.status, 0)],
        ]
        try guest.writeHeader(RequestType.read, sector: 0)
        for (index, buffers) in bad.enumerated() {
            try guest.memory.store(UInt8(0xff), at: Guest.Place.status)
            try guest.writeTable(buffers, first: 7)
            try guest.offer(7)
            guest.serve()
            #expect(try guest.newUsed() == [UsedEntry(id: 7, length: 0)])
            #expect(guest.transport.statistics.droppedRequests == UInt64(index + 1))
            #expect(try guest.memory.load(UInt8.self, at: Guest.Place.status) == 0xff)
        }
        // Nothing leaked and nothing stalled.
        #expect(try guest.request(RequestType.flush).status == BlockStatus.ok)
    }

    @Test func class3_lengthsNotWholeSectors_areErrors() throws {
        let guest = try Guest()
        try guest.start()
        for length in [1, 511, 513, 1023] as [UInt32] {
            #expect(try guest.request(RequestType.read, [.writable(Guest.Place.data, length)]).status == BlockStatus.ioError)
            #expect(try guest.request(RequestType.write, [.readable(Guest.Place.data, length)]).status == BlockStatus.ioError)
        }
        #expect(guest.fake.started.isEmpty)
    }

    @Test func class3_sectorsThatWrapOrLeaveTheDisk_areErrors() throws {
        let guest = try Guest()
        try guest.start()
        for sector in [2048, 2047, 2049, 1 << 32, 1 << 54, 1 << 55, 1 << 55 - 1, 1 << 63, .max, .max - 1] as [UInt64] {
            #expect(try guest.request(RequestType.read, sector: sector, [.writable(Guest.Place.data, 1024)]).status == BlockStatus.ioError)
            #expect(try guest.request(RequestType.write, sector: sector, [.readable(Guest.Place.data, 1024)]).status == BlockStatus.ioError)
        }
        #expect(guest.fake.started.isEmpty)
        #expect(try guest.request(RequestType.read, sector: 2046, [.writable(Guest.Place.data, 1024)]).status == BlockStatus.ok)
    }

    @Test func class12_writeToAReadOnlyDisk_failsWhetherOrNotTheFeatureWasAccepted() throws {
        for accepts in [true, false] {
            let guest = try Guest(FakeStorage(isReadOnly: true))
            let features = guest.offeredFeatures
            #expect(try guest.start(features: accepts ? features : features & ~BlockFeature.readOnly))
            #expect(try guest.request(RequestType.write, [.readable(Guest.Place.data, 512)]).status == BlockStatus.ioError)
            #expect(guest.fake.started.isEmpty)
            #expect(try guest.request(RequestType.read, [.writable(Guest.Place.data, 512)]).status == BlockStatus.ok)
        }
    }

    @Test func class5_moreRequestsThanTheStorageTakes_areAllServedInTheEnd() throws {
        let guest = try Guest(FakeStorage(inFlightLimit: 3))
        try guest.start()
        guest.fake.isHolding = true
        try guest.writeHeader(RequestType.read, sector: 0)
        for index in 0..<64 {
            try guest.writeTable(
                [.readable(Guest.Place.header, 16), .writable(Guest.Place.data, 512), .writable(Guest.Place.status, 1)], first: index * 3)
            try guest.offer(UInt16(index * 3))
        }
        guest.serve()
        #expect(guest.fake.inFlight == 3)
        // Notifications change nothing while the storage is full.
        guest.serve()
        #expect(guest.fake.inFlight == 3)
        guest.fake.release()
        guest.serve()
        let used = try guest.newUsed()
        #expect(used.count == 64)
        #expect(Set(used.map(\.id)).count == 64)
        #expect(used.allSatisfy { $0.length == 513 })
        #expect(guest.fake.maximumInFlight == 3)
    }

    @Test func class19_longVectors_waitForEachOtherAndStayBounded() throws {
        let guest = try Guest(FakeStorage(inFlightLimit: 256))
        try guest.start()
        guest.fake.isHolding = true
        try guest.writeHeader(RequestType.read, sector: 0)
        // 60 requests of 254 segments each want more long vectors than there are.
        let data = (0..<254).map { Buffer.writable(Guest.Place.data + UInt64($0) * 512, 512) }
        try guest.writeTable([.readable(Guest.Place.header, 16)] + data + [.writable(Guest.Place.status, 1)], at: 0x30_0000)
        for index in 0..<60 {
            try guest.writeTable([Buffer(address: 0x30_0000, length: 4096, flags: Descriptor.indirect)], first: index)
            try guest.offer(UInt16(index))
        }
        guest.serve()
        #expect(guest.fake.inFlight == RequestSlots.longVectors)
        guest.fake.release()
        guest.serve()
        #expect(try guest.newUsed().count == 60)
        #expect(guest.fake.maximumInFlight == RequestSlots.longVectors)
    }

    @Test func class19_drainWhileStalled_doesNotForgetTheQueue() throws {
        let guest = try Guest(FakeStorage(inFlightLimit: 1))
        try guest.start()
        guest.fake.isHolding = true
        try guest.writeHeader(RequestType.flush, sector: 0)
        for index in 0..<4 {
            try guest.writeTable(guest.chain([]), first: index * 2)
            try guest.offer(UInt16(index * 2))
        }
        guest.serve()
        guest.transport.drain()
        #expect(try guest.newUsed().count == 4)
        guest.fake.release()
        #expect(try guest.request(RequestType.flush).status == BlockStatus.ok)
    }

    /// What a paused machine's vCPUs have queued before they stopped, and nobody has looked at: else the image would change later, while the machine is paused.
    @Test func drain_servesWhatIsQueued_andNothingIsLeftForTheLoop() throws {
        let guest = try Guest()
        try guest.start()
        try guest.writeHeader(RequestType.write, sector: 0)
        try guest.fill(Guest.Place.data, [UInt8](repeating: 0x5a, count: 512))
        try guest.writeTable(guest.chain([.readable(Guest.Place.data, 512)]))
        try guest.offer(0)
        guest.write(.queueNotify, 0)
        guest.transport.drain()
        #expect(guest.fake.bytes[0..<512].allSatisfy { $0 == 0x5a })
        #expect(try guest.newUsed() == [UsedEntry(id: 0, length: 1)])
        let started = guest.fake.started.count
        guest.serve()
        #expect(guest.fake.started.count == started)
    }

    /// A device that always has more does not keep `drain`, and gets its turn on the loop again.
    @Test func class28_drainOfAFloodingDevice_ends() throws {
        let transport = try floodingTransport(try Guest())
        transport.drain()
        #expect(transport.notifications[0].drain() == 1)
    }

    /// A guest that adds requests as fast as they are answered gets its rounds, and then the others on the loop get theirs.
    @Test func class28_floodedQueue_yieldsAfterItsBudget() throws {
        let transport = try floodingTransport(try Guest())
        transport.serveQueue(0)
        // Signalled again for the loop, instead of being served on.
        #expect(transport.notifications[0].drain() == 1)

        // The block device: requests offered by the storage's own kick, which plays a second vCPU.
        let busy = try RefillingGuest()
        #expect(busy.serveOnce() == .again)
        #expect(busy.rounds == VirtioBlock.maximumRounds)
    }

    /// A guest whose disk is slow stops its queue in each way that there is: its vCPU waits, the device's lock is free meanwhile, and what is in flight ends first.
    @Test(arguments: [("reset", MMIORegister.status, UInt32(0)), ("failed", .status, 0x8f), ("queue", .queueReady, 0)])
    func class28_stoppingTheQueueOfASlowDisk_holdsUpTheVCPUAlone(_ name: String, _ register: MMIORegister, _ value: UInt32) throws {
        let guest = try Guest(FakeStorage(inFlightLimit: 2))
        try guest.start()
        guest.fake.isHolding = true
        try guest.writeHeader(RequestType.read, sector: 0)
        try guest.writeTable(guest.chain([.writable(Guest.Place.data, 512)]))
        for _ in 0..<5 { try guest.offer(0) }
        guest.serve()
        #expect(guest.fake.inFlight == 2)
        let transport = guest.transport
        let fake = guest.fake
        let vcpu = try OSThread.start(name: "vcpu") { transport.write(offset: register.rawValue, size: 4, value: UInt64(value)) }
        func isWaiting() -> Bool { transport.state.withLock { $0.settling > 0 } }
        while !isWaiting() { Clock.sleep(nanoseconds: 100_000) }
        // Another thread gets the lock again and again, and starts nothing.
        for _ in 0..<100 {
            transport.serveQueue(0)
            transport.serveEventSource(fake.completionFD)
        }
        #expect(isWaiting())
        transport.state.withLock { _ in fake.release() }
        while isWaiting() {
            transport.serveEventSource(fake.completionFD)
            Clock.sleep(nanoseconds: 100_000)
        }
        vcpu.join()
        #expect(fake.inFlight == 0 && fake.started.count == 2)
        let before = try guest.bytes(Guest.Place.used, 64)
        transport.serveQueue(0)
        #expect(try guest.bytes(Guest.Place.used, 64) == before)
        #expect(try guest.newUsed().count == (name == "reset" ? 0 : 2))
        #expect(try guest.start())
        #expect(try guest.request(RequestType.flush).status == BlockStatus.ok)
    }

    @Test func class11_deviceReleasedWithRequestsInFlight_waitsForThem() throws {
        let storage = try FakeStorage()
        do {
            let guest = try Guest(storage)
            try guest.start()
            storage.isHolding = true
            try guest.writeHeader(RequestType.read, sector: 0)
            try guest.writeTable(guest.chain([.writable(Guest.Place.data, 512)]))
            try guest.offer(0)
            guest.serve()
            #expect(storage.inFlight == 1)
        }
        #expect(storage.inFlight == 0)
    }

    /// The device is the last to know the guest's memory.
    @Test func class11_memoryOutlivesTheLastRequest() throws {
        let storage = try MemoryWatcher()
        weak var memory: GuestMemory?
        do {
            let space = AddressSpace(name: "memory", size: 1 << 40)
            try space.root.add(try Region.ram(name: "ram", size: 1 << 20, memory: try HostMemory.anonymous(size: 1 << 20)), at: 0)
            memory = space.memory
            let device = VirtioBlock(storage: storage)
            let queue = try SplitQueue(
                QueueConfiguration(size: 8, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: 0x3000), maximumSize: 256, features: 0, memory: space.memory)
            device.activate(
                VirtioSession(
                    queues: [queue], configurations: [nil], features: 0, memory: space.memory, interrupt: VirtioInterrupt(line: TestInterruptLine(gsi: 5)),
                    notifications: [], control: SessionControl(nil, session: 0)))
            let watched = space.memory
            storage.isAlive = { [weak watched] in watched != nil }
        }
        #expect(storage.drains == 1)
        #expect(storage.wasAlive)
        #expect(memory == nil)
    }
}

/// A device that always has more to do.
private final class FloodingDevice: VirtioDevice {
    let deviceType: UInt32 = 4
    let features = VirtioFeature.version1
    let queueSizes: [UInt16] = [8]
    let eventSources: [Int32] = []
    let droppedRequests: UInt64 = 0
    func readConfig(offset: Int, size: Int) -> UInt64 { 0 }
    func writeConfig(offset: Int, size: Int, value: UInt64) {}
    func activate(_ session: VirtioSession) {}
    func queueNotified(_ index: Int) -> ServiceResult { .again }
    func eventSourceReady(_ descriptor: Int32) -> ServiceResult { .idle }
    func drain() -> ServiceResult { .idle }
    func reset() {}
}

/// Its driver has set it up, without a queue.
private func floodingTransport(_ guest: Guest) throws -> VirtioMMIODevice {
    let transport = try VirtioMMIODevice(name: "flood", device: FloodingDevice(), memory: guest.memory, line: guest.line)
    transport.write(offset: MMIORegister.driverFeaturesSelect.rawValue, size: 4, value: 1)
    for value in [1, 3] as [UInt64] { transport.write(offset: MMIORegister.status.rawValue, size: 4, value: value) }
    transport.write(offset: MMIORegister.driverFeatures.rawValue, size: 4, value: 1)
    for value in [11, 15] as [UInt64] { transport.write(offset: MMIORegister.status.rawValue, size: 4, value: value) }
    #expect(transport.status.isLive)
    transport.notifications[0].drain()
    return transport
}

/// A guest whose storage offers another request at each kick, as a second vCPU would.
private final class RefillingGuest {
    let guest: Guest
    let device: VirtioBlock
    private let storage: RefillingStorage
    var rounds: Int { storage.kicks }

    init() throws {
        storage = try RefillingStorage()
        guest = try Guest()
        device = VirtioBlock(storage: storage)
        let queue = try SplitQueue(
            QueueConfiguration(size: 256, descriptorTable: Guest.Place.descriptors, availableRing: Guest.Place.available, usedRing: Guest.Place.used),
            maximumSize: 256, features: 0, memory: guest.memory)
        device.activate(
            VirtioSession(
                queues: [queue], configurations: [nil], features: 0, memory: guest.memory, interrupt: VirtioInterrupt(line: guest.line), notifications: [],
                control: SessionControl(nil, session: 0)))
        try guest.writeHeader(RequestType.flush, sector: 0)
        try guest.writeTable(guest.chain([]))
        storage.guest = guest
        try guest.offer(0)
    }

    func serveOnce() -> ServiceResult { device.queueNotified(0) }
}

private final class RefillingStorage: BlockStorage, @unchecked Sendable {
    let sectorCount: UInt64 = 8
    let isReadOnly = false
    let supportsDiscard = false
    let supportsWriteZeroes = false
    let logicalBlockSize: UInt32 = 512
    let inFlightLimit = 256
    var completionFD: Int32 { event.raw }
    private let event: EventFD
    weak var guest: Guest?
    var kicks = 0

    init() throws { event = try EventFD() }
    func submit(_ operation: BlockOperation) {}
    func kick() {
        kicks += 1
        try? guest?.offer(0)
    }
    func reap(_ body: (UInt64, Int32) -> Void) {}
    func drain(_ body: (UInt64, Int32) -> Void) {}
}

/// Looks whether something still exists when it is drained.
private final class MemoryWatcher: BlockStorage, @unchecked Sendable {
    let sectorCount: UInt64 = 8
    let isReadOnly = false
    let supportsDiscard = false
    let supportsWriteZeroes = false
    let logicalBlockSize: UInt32 = 512
    let inFlightLimit = 1
    var completionFD: Int32 { event.raw }
    private let event: EventFD
    var isAlive: () -> Bool = { false }
    var wasAlive = false
    var drains = 0

    init() throws { event = try EventFD() }
    func submit(_ operation: BlockOperation) {}
    func kick() {}
    func reap(_ body: (UInt64, Int32) -> Void) {}
    func drain(_ body: (UInt64, Int32) -> Void) {
        drains += 1
        wasAlive = isAlive()
    }
}
