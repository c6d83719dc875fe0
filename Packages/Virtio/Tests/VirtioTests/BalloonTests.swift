import AddressSpace
import Devices
import Glibc
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

@Suite struct BalloonTests {
    enum Queue {
        static let inflate = 0, deflate = 1, statistics = 2, reporting = 3
    }

    /// A guest whose memory at `data` reads 0x55 for 2 MiB.
    static func guest(_ options: VirtioBalloon.Options = .init(), features: UInt64? = nil) throws -> (QueueGuest, BalloonHost) {
        let device = try VirtioBalloon(memorySize: QueueGuest.ramSize, options: options)
        let host = device.host
        let guest = try QueueGuest(device)
        try guest.memory.fill(at: data, count: 2 << 20, byte: 0x55)
        try guest.start(features: features, size: 128)
        return (guest, host)
    }

    static let page: UInt64 = 4096
    static let data = QueueGuest.data
    static let firstPage = UInt32(QueueGuest.data / page)
    /// Where the tests write lists of page numbers.
    static let list: UInt64 = 2 << 20

    /// One request with these page numbers.
    static func send(_ guest: QueueGuest, _ queue: Int, _ pages: [UInt32]) throws {
        for (index, page) in pages.enumerated() { try guest.memory.store(page, at: list + UInt64(index) * 4) }
        try guest.offer(queue, [.readable(list, UInt32(pages.count * 4))])
        guest.kick(queue)
    }

    /// Which of the first `count` pages of `data` still have their bytes.
    static func filled(_ guest: QueueGuest, _ count: Int) throws -> [Bool] {
        try (0..<count).map { index in
            let bytes = try guest.bytes(data + UInt64(index) * page, Int(page))
            if !bytes.allSatisfy({ $0 == 0x55 || $0 == 0 }) || Set(bytes).count != 1 { Issue.record("page \(index) is torn") }
            return bytes[0] == 0x55
        }
    }

    /// The answer to a request: one used entry, and an interrupt.
    static func expectAnswer(_ guest: QueueGuest, _ queue: Int) throws {
        #expect(try guest.newUsed(queue) == [UsedEntry(id: 0, length: 0)])
        #expect(guest.read(.interruptStatus) & VirtioInterrupt.usedBuffer != 0)
        guest.write(.interruptAcknowledge, 3)
    }

    // MARK: Size

    @Test func driverSeesWhatTheHostWants() throws {
        let (guest, host) = try Self.guest()
        #expect(guest.read(.deviceID) == 5)
        #expect(guest.config(0, 4) == 0 && guest.config(4, 4) == 0 && guest.config(8, 8) == 0)
        host.setSize(6 << 20)
        #expect(guest.config(0, 4) == 512)
        // A part of a page stays with the guest.
        host.setSize(QueueGuest.ramSize - Self.page - 1)
        #expect(guest.config(0, 4) == 1)
        host.setSize(.max)
        #expect(guest.config(0, 4) == 0)
        host.setSize(0)
        #expect(guest.config(0, 4) == QueueGuest.ramSize / Self.page)
        #expect(guest.config(0, 8) == QueueGuest.ramSize / Self.page)
    }

    @Test func features_areThoseThatWereAskedFor() throws {
        func bits(_ options: VirtioBalloon.Options) throws -> (UInt64, Int) {
            let device = try VirtioBalloon(memorySize: 1 << 30, options: options)
            return (device.features & 0xffffff, device.queueSizes.count)
        }
        #expect(try bits(.init()) == (2, 3))
        #expect(try bits(.init(deflatesOnOOM: true)) == (2 | 4, 3))
        #expect(try bits(.init(reportsFreePages: true)) == (2 | 16 | 32, 5))
    }

    @Test func actualSize_isWhatTheDriverSays_andIsWatched() throws {
        let (guest, host) = try Self.guest()
        let changes = Mutex(0)
        host.watchSize { changes.withLock { $0 += 1 } }
        #expect(host.actualSize == QueueGuest.ramSize)
        for _ in 0..<2 { guest.transport.write(offset: MMIORegister.config + 4, size: 4, value: 256) }
        #expect(host.actualSize == QueueGuest.ramSize - (1 << 20))
        #expect(guest.config(4, 4) == 256)
        #expect(changes.withLock { $0 } == 1)
    }

    // MARK: Pages

    @Test func inflatedPages_goBackToTheHost() throws {
        let (guest, _) = try Self.guest()
        try Self.send(guest, Queue.inflate, [1, 2, 3, 5].map { Self.firstPage + $0 })
        try Self.expectAnswer(guest, Queue.inflate)
        #expect(try Self.filled(guest, 7) == [true, false, false, false, true, false, true])
        let statistics = guest.transport.statistics
        #expect(statistics.droppedRequests == 0)
        #expect(statistics.counters == [DeviceCounter("inflated-bytes", 4 * Self.page), DeviceCounter("reported-bytes", 0)])
    }

    /// Linux takes pages from a list, so they come from the top as often as not.
    @Test func order_doesNotMatter() throws {
        let (guest, _) = try Self.guest()
        try Self.send(guest, Queue.inflate, [9, 8, 7, 0, 2, 4, 3, 15].map { Self.firstPage + $0 })
        try Self.expectAnswer(guest, Queue.inflate)
        let gone: Set = [0, 2, 3, 4, 7, 8, 9, 15]
        #expect(try Self.filled(guest, 17) == (0..<17).map { !gone.contains($0) })
    }

    @Test func fullRequest_isOneRunOfPages() throws {
        let (guest, _) = try Self.guest()
        try Self.send(guest, Queue.inflate, (0..<256).map { Self.firstPage + 255 - $0 })
        try Self.expectAnswer(guest, Queue.inflate)
        #expect(try Self.filled(guest, 257) == [Bool](repeating: false, count: 256) + [true])
    }

    @Test func listInSeveralBuffers_isOneList() throws {
        let (guest, _) = try Self.guest()
        for index in 0..<3 as Range<UInt64> { try guest.memory.store(Self.firstPage + UInt32(index), at: Self.list + index * 4) }
        // The second number lies in two buffers.
        try guest.offer(Queue.inflate, [.readable(Self.list, 5), .readable(Self.list + 5, 7)])
        guest.kick(Queue.inflate)
        try Self.expectAnswer(guest, Queue.inflate)
        #expect(try Self.filled(guest, 4) == [false, false, false, true])
    }

    @Test func deflatedPages_areThereAgain() throws {
        let (guest, _) = try Self.guest()
        try Self.send(guest, Queue.inflate, [Self.firstPage])
        try Self.expectAnswer(guest, Queue.inflate)
        try Self.send(guest, Queue.deflate, [Self.firstPage])
        try Self.expectAnswer(guest, Queue.deflate)
        try guest.memory.store(UInt64(0x1234), at: Self.data)
        #expect(try guest.memory.load(UInt64.self, at: Self.data) == 0x1234)
        #expect(try guest.memory.load(UInt64.self, at: Self.data + 8) == 0)
    }

    // MARK: Reporting

    private static let reporting = VirtioBalloon.Options(reportsFreePages: true)

    @Test func reportedPages_goBackToTheHost() throws {
        let (guest, _) = try Self.guest(Self.reporting)
        try guest.offer(Queue.reporting, [.writable(Self.data + Self.page, 8192), .writable(Self.data + 5 * Self.page, 4096)])
        guest.kick(Queue.reporting)
        try Self.expectAnswer(guest, Queue.reporting)
        #expect(try Self.filled(guest, 7) == [true, false, false, true, true, false, true])
        #expect(guest.transport.statistics.counters == [DeviceCounter("inflated-bytes", 0), DeviceCounter("reported-bytes", 3 * Self.page)])
    }

    /// Linux counts the queues of negotiated features only; virtio 1.2, section 5.5.2, gives each a number of its own.
    @Test func reportingQueue_isFoundUnderEitherNumber() throws {
        for (queue, leavesStatisticsOut) in [(3, false), (4, false), (2, true), (3, true), (4, true)] {
            let (guest, _) = try Self.guest(
                Self.reporting, features: VirtioFeature.version1 | BalloonFeature.reporting | (leavesStatisticsOut ? 0 : BalloonFeature.statistics))
            try guest.offer(queue, [.writable(Self.data, 4096)])
            guest.kick(queue)
            try Self.expectAnswer(guest, queue)
            #expect(try Self.filled(guest, 2) == [false, true], "queue \(queue)")
        }
    }

    @Test func reportingWithoutTheFeature_isLeftInTheQueue() throws {
        let (guest, _) = try Self.guest(Self.reporting, features: VirtioFeature.version1)
        for queue in 2...4 {
            try guest.offer(queue, [.writable(Self.data, 4096)])
            guest.kick(queue)
            #expect(try guest.newUsed(queue).isEmpty)
        }
        #expect(try Self.filled(guest, 1) == [true])
    }

    /// Section 5.5.6.6.2: a driver that writes a pattern into free pages must find it again.
    @Test func poisonedPages_stay_andClearedOnesGo() throws {
        for (poison, keeps) in [(0, false), (0xaaaa_aaaa, true)] as [(UInt64, Bool)] {
            let (guest, _) = try Self.guest(Self.reporting)
            guest.transport.write(offset: MMIORegister.config + 12, size: 4, value: poison)
            #expect(guest.config(12, 4) == poison)
            try guest.offer(Queue.reporting, [.writable(Self.data, 4096)])
            guest.kick(Queue.reporting)
            try Self.expectAnswer(guest, Queue.reporting)
            #expect(try Self.filled(guest, 1) == [keeps])
            // An inflated page is the host's whatever the pattern.
            try Self.send(guest, Queue.inflate, [Self.firstPage + 1])
            #expect(try Self.filled(guest, 2)[1] == false)
        }
    }

    @Test func poisonThatWasNotNegotiated_countsForNothing() throws {
        let (guest, _) = try Self.guest(Self.reporting, features: VirtioFeature.version1 | BalloonFeature.reporting | BalloonFeature.statistics)
        guest.transport.write(offset: MMIORegister.config + 12, size: 4, value: 0xaa)
        try guest.offer(Queue.reporting, [.writable(Self.data, 4096)])
        guest.kick(Queue.reporting)
        #expect(try Self.filled(guest, 1) == [false])
        let (plain, _) = try Self.guest()
        plain.transport.write(offset: MMIORegister.config + 12, size: 4, value: 0xaa)
        #expect(plain.config(12, 4) == 0)
    }

    // MARK: Life

    @Test func resetWhileInflated_givesThePagesBackToTheGuest() throws {
        let (guest, host) = try Self.guest()
        host.setSize(7 << 20)
        try Self.send(guest, Queue.inflate, (0..<256).map { Self.firstPage + $0 })
        guest.transport.write(offset: MMIORegister.config + 4, size: 4, value: 256)
        let changes = Mutex(0)
        host.watchSize { changes.withLock { $0 += 1 } }
        guest.write(.status, 0)
        #expect(host.actualSize == QueueGuest.ramSize)
        #expect(changes.withLock { $0 } == 1)
        try guest.memory.fill(at: Self.data, count: 1 << 20, byte: 0x55)
        try guest.start(size: 128)
        // What the host wants is the host's.
        #expect(guest.config(0, 4) == 256)
        try Self.send(guest, Queue.inflate, [Self.firstPage])
        try Self.expectAnswer(guest, Queue.inflate)
        #expect(try Self.filled(guest, 2) == [false, true])
    }

    @Test func sharedMemory_goesBackToo() throws {
        let device = try VirtioBalloon(memorySize: DeviceGuest.ramSize)
        let guest = try DeviceGuest(device: device, on: DeviceGuest.memory(isShared: true))
        try guest.start(queues: [0, 1, 2], features: VirtioFeature.version1)
        let high: UInt64 = 1 << 32
        let page = high + 0x10_0000
        try guest.memory.fill(at: page, count: 8192, byte: 0x55)
        try guest.memory.store(UInt32(page >> 12), at: 0x8_0000)
        try guest.offer(0, [.readable(0x8_0000, 4)])
        guest.kick(0)
        guest.transport.serveQueue(0)
        #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 0)])
        // By the file, as a peer sees it.
        let offset = Int(DeviceGuest.ramSize / 2 + 0x10_0000)
        var bytes = [UInt8](repeating: 1, count: 8192)
        #expect(pread(guest.ram.fileDescriptor, &bytes, 8192, offset) == 8192)
        #expect(bytes == [UInt8](repeating: 0, count: 4096) + [UInt8](repeating: 0x55, count: 4096))
    }
}
