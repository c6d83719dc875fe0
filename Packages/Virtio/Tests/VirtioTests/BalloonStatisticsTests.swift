import AddressSpace
import Devices
import HypervisorTesting
import LinuxSys
import Testing
@testable import Virtio

@Suite struct BalloonStatisticsTests {
    private static let place = QueueGuest.data
    private let statistics = BalloonTests.Queue.statistics

    /// Entries as the driver writes them.
    static func write(_ guest: QueueGuest, _ entries: [(tag: UInt16, value: UInt64)], at place: UInt64 = place) throws -> UInt32 {
        for (index, entry) in entries.enumerated() {
            try guest.memory.store(entry.tag, at: place + UInt64(index) * 10)
            try guest.memory.store(entry.value, at: place + UInt64(index) * 10 + 2)
        }
        return UInt32(entries.count * 10)
    }

    private func send(_ guest: QueueGuest, _ entries: [(tag: UInt16, value: UInt64)]) throws {
        try guest.offer(statistics, [.readable(Self.place, Self.write(guest, entries))])
        guest.kick(statistics)
    }

    private func waitForUsed(_ guest: QueueGuest) throws -> [UsedEntry] {
        for _ in 0..<2000 {
            guest.serve()
            let used = try guest.newUsed(statistics)
            if !used.isEmpty { return used }
            Clock.sleep(nanoseconds: 5_000_000)
        }
        return []
    }

    @Test func everyKind_isTaken_andTheOthersAreUnknown() throws {
        let (guest, host) = try BalloonTests.guest()
        #expect(host.statistics.lastUpdate == 0)
        #expect(BalloonStatistics.Kind.allCases.allSatisfy { host.statistics.values[$0] == nil })
        let before = Clock.realtimeNanoseconds() / 1_000_000_000
        try send(guest, (0..<10).map { ($0, UInt64($0) + 1 << 40) })
        #expect(BalloonStatistics.Kind.allCases.allSatisfy { host.statistics.values[$0] == UInt64($0.rawValue) + 1 << 40 })
        #expect(host.statistics.lastUpdate >= before)
        // The buffer is the host's until it wants to know more.
        #expect(try guest.newUsed(statistics).isEmpty)
    }

    @Test func polling_asksAgainAndAgain() throws {
        let (guest, host) = try BalloonTests.guest()
        try send(guest, [(4, 100)])
        host.pollingInterval = 1
        #expect(host.pollingInterval == 1)
        for round in 1...2 as ClosedRange<UInt64> {
            let start = Clock.monotonicNanoseconds()
            #expect(try waitForUsed(guest) == [UsedEntry(id: 0, length: 0)])
            #expect(Clock.monotonicNanoseconds() - start >= 500_000_000)
            #expect(guest.read(.interruptStatus) & VirtioInterrupt.usedBuffer != 0)
            try send(guest, [(5, 100 + round)])
            #expect(host.statistics.values[.totalMemory] == 100 + round)
            // What is not said any more is unknown.
            #expect(host.statistics.values[.freeMemory] == nil)
        }
        host.pollingInterval = 0
        Clock.sleep(nanoseconds: 1_100_000_000)
        guest.serve()
        #expect(try guest.newUsed(statistics).isEmpty)
        #expect(host.statistics.values[.totalMemory] == 102)
    }

    /// The driver may come long after somebody has asked.
    @Test func polling_beginsWithTheDriver() throws {
        let device = try VirtioBalloon(memorySize: QueueGuest.ramSize)
        let host = device.host
        host.pollingInterval = 1
        let guest = try QueueGuest(device)
        Clock.sleep(nanoseconds: 1_100_000_000)
        guest.serve()
        try guest.start(size: 128)
        try send(guest, [(4, 100)])
        #expect(try waitForUsed(guest) == [UsedEntry(id: 0, length: 0)])
    }

    // MARK: Auto-balloon

    private static let auto = VirtioBalloon.Options(auto: AutoBalloon(bufferPercent: 50, interval: 5))

    @Test func balloonFollowsTheGuest_andTheDriverIsTold() throws {
        let (guest, host) = try BalloonTests.guest(Self.auto)
        let loop = try EventLoop()
        let ports = AddressSpace(name: "ports", size: 1 << 16)
        let bus = SysBus(memory: guest.space.root, ports: ports.root, machine: TestVirtualMachine())
        try guest.transport.watch(VirtioMMIODevice.Placement(slot: try bus.allocate(name: "balloon"), loop: loop))
        defer { guest.transport.detach() }
        guest.write(.interruptAcknowledge, 3)
        // Of 4 MiB that are available a half goes into the balloon.
        try guest.offer(statistics, [.readable(Self.place, Self.write(guest, [(4, 1 << 20), (6, 4 << 20)]))])
        guest.write(.queueNotify, UInt32(statistics))
        for _ in 0..<3 { loop.runOnce(timeoutMilliseconds: 0) }
        #expect(guest.config(0, 4) == 512)
        #expect(guest.read(.interruptStatus) & VirtioInterrupt.configurationChange != 0)
        #expect(host.actualSize == QueueGuest.ramSize)
    }

    @Test func whatTheUserSays_isTheLeastThatIsInTheBalloon() throws {
        let (guest, host) = try BalloonTests.guest(Self.auto)
        host.setSize(5 << 20)
        try send(guest, [(6, 4 << 20)])
        #expect(guest.config(0, 4) == 768)
        host.setSize(7 << 20)
        #expect(guest.config(0, 4) == 512)
    }

    @Test func smallChanges_areLeftAlone() throws {
        let device = try VirtioBalloon(memorySize: 1 << 30, options: Self.auto)
        let host = device.host
        func take(_ available: UInt64) -> Bool {
            let bytes: [UInt8] = [6, 0] + (0..<8).map { UInt8(truncatingIfNeeded: available >> (8 * $0)) }
            return host.take(bytes.span, at: 1)
        }
        #expect(take(512 << 20))
        #expect(host.target == 65536)
        #expect(!take(520 << 20) && !take(500 << 20))
        #expect(host.target == 65536)
        #expect(take(256 << 20))
        #expect(host.target == 32768)
    }

    @Test func withoutAvailableMemory_freeMemoryCounts_andWithoutEitherNothing() throws {
        let (guest, _) = try BalloonTests.guest(Self.auto)
        try send(guest, [(5, 8 << 20)])
        #expect(guest.config(0, 4) == 0)
        let (other, _) = try BalloonTests.guest(Self.auto)
        try send(other, [(4, 2 << 20)])
        #expect(other.config(0, 4) == 256)
    }

    @Test func arithmetic_settlesAtOnce_andStaysBelowTheGuestsMemory() {
        for percent in [20, 50, 80] as [UInt32] {
            let auto = AutoBalloon(bufferPercent: percent, interval: 5)
            let memory: UInt32 = 131_072, available: UInt64 = 300 << 20
            let target = auto.target(available: available, inflated: 0, memory: memory)
            #expect(UInt64(target) == (available >> 12) * UInt64(100 - percent) / 100)
            // With that much in the balloon the guest has so much less: the same comes out.
            #expect(auto.target(available: available - UInt64(target) << 12, inflated: target, memory: memory) == target)
            // A guest that lies.
            let most = memory / 100 * (100 - percent)
            #expect(auto.target(available: .max, inflated: .max, memory: memory) - most <= 100)
            #expect(auto.target(available: 0, inflated: 0, memory: memory) == 0)
        }
    }
}
