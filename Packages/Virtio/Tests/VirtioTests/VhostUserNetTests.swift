import AddressSpace
import Glibc
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Network devices whose packets a fake back end moves.
@Suite struct VhostUserNetTests {
    private static let features = FakeBackEnd.features | NetFeature.offloads | NetFeature.mergeableBuffers | NetFeature.multiqueue | NetFeature.status
    private static let mac = MACAddress(bits: 0x5254_0012_3456)

    private static func kind(
        features: UInt64 = features, queueCount: UInt64 = 8, _ script: @escaping FakeBackEnd.Script = { _, _ in .normal }
    ) -> BlockBackEnds.Kind {
        BlockBackEnds.Kind(features: features, protocolFeatures: 0xffff, queueCount: queueCount, configuration: [], script: script)
    }

    private struct Fixture {
        let backEnds = BlockBackEnds()
        let guest: DeviceGuest

        init(_ kind: BlockBackEnds.Kind = kind(), pairs: Int = 1, limits: VhostUser.Limits = BlockBackEnds.limits) throws {
            backEnds.await(kind)
            do {
                let options = NetOptions(mac: mac, queuePairs: pairs, offersMultiqueue: pairs > 1)
                let device = try VhostUserNet(try backEnds.dial(), "-netdev n", options, limits: limits) { [backEnds] () throws(VhostUserError) in
                    try backEnds.dial()
                }
                guest = try DeviceGuest(device: device, on: DeviceGuest.memory())
            } catch {
                backEnds.stop()
                throw error
            }
        }

        func messages(of request: VhostUserRequest) -> [FakeBackEnd.Message] { backEnds.last?.messages.filter { $0.request == request.rawValue } ?? [] }
        /// Which rings are enabled, after all that was said.
        var enabled: [UInt32: UInt32] { messages(of: .setRingEnable).reduce(into: [:]) { $0[$1.word(0)] = $1.word(4) } }
        var isUp: Bool { guest.config(6, 2) & 1 != 0 }

        func kill() throws {
            try #require(backEnds.last).stop()
            #expect(guest.run(milliseconds: 10_000) { !isUp })
        }

        func revive(_ kind: BlockBackEnds.Kind = kind()) {
            backEnds.await(kind)
            #expect(guest.run(milliseconds: 10_000) { isUp })
        }

        /// A command of the control queue; what the device answers.
        func command(_ bytes: [UInt8], queue: Int) throws -> UInt8 {
            try guest.memory.write(at: 0x10_0000, bytes: bytes)
            try guest.memory.store(UInt8(0xff), at: 0x10_1000)
            try guest.offer(queue, [.readable(0x10_0000, UInt32(bytes.count)), .writable(0x10_1000, 1)])
            guest.kick(queue)
            guest.transport.serveQueue(queue)
            return try guest.memory.load(UInt8.self, at: 0x10_1000)
        }
    }

    @Test func identity_isWhatTheBackEndCanDo_andOneAddress() throws {
        let fixture = try Fixture()
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(guest.read(.deviceID) == 1)
        #expect(guest.offeredFeatures == Self.features & ~NetFeature.multiqueue & ~(1 << 30 | 1 << 26) | NetFeature.own)
        #expect((0..<6).map { guest.config($0, 1) } == [0x52, 0x54, 0x00, 0x12, 0x34, 0x56])
        #expect(fixture.isUp)
        #expect(guest.transport.queueSizes == [256, 256, 64])
        guest.transport.write(offset: MMIORegister.config, size: 8, value: 0)
        #expect(guest.config(0, 1) == 0x52)
        let less = try Fixture(Self.kind(features: VirtioFeature.version1 | 1 << 30))
        defer { less.backEnds.stop() }
        #expect(less.guest.offeredFeatures == VirtioFeature.version1 | NetFeature.own)
    }

    @Test func session_handsOverTheDataQueuesOnly() throws {
        let fixture = try Fixture()
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(try guest.start(queues: [0, 1, 2]))
        #expect(guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 2 })
        #expect(fixture.messages(of: .setKick).map { $0.long(0) } == [0, 1])
        #expect(fixture.enabled == [0: 1, 1: 1])
        // What the device does itself is nothing to the back end.
        #expect(fixture.messages(of: .setFeatures).first?.long(0) == guest.offeredFeatures & (Self.features | 1 << 30) | 1 << 30)
        #expect(fixture.messages(of: .setRingAddresses).first?.long(16) == guest.place(0).usedRing + UInt64(1 << 52))
        #expect(try fixture.command([0, 0, 1], queue: 2) == 0)
        #expect(try fixture.command([1, 1, 2, 0, 0, 0, 0, 9], queue: 2) == 0)
        #expect(guest.config(5, 1) == 9)
        // Pairs without MQ, a class that is none, too short.
        for bytes in [[4, 0, 1, 0], [9, 0, 0], [0]] as [[UInt8]] { #expect(try fixture.command(bytes, queue: 2) == 1) }
        #expect(guest.transport.statistics.droppedRequests == 3)
        guest.write(.status, 0)
        #expect(fixture.messages(of: .getRingBase).map { $0.word(0) } == [0, 1])
        #expect(guest.config(5, 1) == 0x56)
    }

    @Test func pairs_areEnabledAsTheDriverUsesThem() throws {
        let fixture = try Fixture(pairs: 2)
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(guest.offeredFeatures & NetFeature.multiqueue != 0)
        #expect(guest.config(8, 2) == 2)
        #expect(try guest.start(queues: [0, 1, 2, 3, 4]))
        #expect(guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 4 })
        #expect(fixture.enabled == [0: 1, 1: 1, 2: 0, 3: 0])
        #expect(try fixture.command([4, 0, 2, 0], queue: 4) == 0)
        #expect(guest.run(milliseconds: 10_000) { fixture.enabled == [0: 1, 1: 1, 2: 1, 3: 1] })
        #expect(try fixture.command([4, 0, 3, 0], queue: 4) == 1)
        #expect(try fixture.command([4, 0, 0, 0], queue: 4) == 1)
        // The next back end finds them so.
        try fixture.kill()
        fixture.revive()
        #expect(guest.run(milliseconds: 10_000) { fixture.enabled == [0: 1, 1: 1, 2: 1, 3: 1] })
        guest.write(.status, 0)
        #expect(try guest.start(queues: [0, 1, 2, 3, 4]))
        #expect(guest.run(milliseconds: 10_000) { fixture.enabled == [0: 1, 1: 1, 2: 0, 3: 0] })
        // A driver without MQ has its control queue at the third place.
        #expect(try guest.start(queues: [0, 1, 2], features: guest.offeredFeatures & ~NetFeature.multiqueue))
        #expect(try fixture.command([0, 0, 1], queue: 2) == 0)
        #expect(throws: VhostUserError.tooFewQueues(offered: 1, needed: 2)) { _ = try Fixture(Self.kind(queueCount: 1), pairs: 2) }
        #expect(throws: VhostUserError.tooFewQueues(offered: 1, needed: 2)) { _ = try Fixture(Self.kind(features: Self.features & ~NetFeature.multiqueue), pairs: 2) }
    }

    @Test func backEndThatDies_isALinkThatGoesDown_untilAnotherComes() throws {
        let fixture = try Fixture()
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(try guest.start(queues: [0, 1, 2]))
        for index in [3, 70] as [UInt16] {
            guest.write(.interruptAcknowledge, 3)
            try guest.memory.storeRelease16(index, at: guest.place(1).usedRing + 2)
            try fixture.kill()
            #expect(guest.read(.interruptStatus) & VirtioInterrupt.configurationChange != 0)
            guest.transport.notifications[0].drain()
            // Commands are served here.
            #expect(try fixture.command([0, 1, 1], queue: 2) == 0)
            guest.write(.interruptAcknowledge, 3)
            fixture.revive()
            #expect(guest.read(.interruptStatus) & VirtioInterrupt.configurationChange != 0)
            #expect(guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 2 })
            #expect(fixture.messages(of: .setRingBase).map { $0.word(4) } == [0, UInt32(index)])
            #expect(guest.transport.notifications[0].drain() > 0)
        }
        // Resets while nobody is there.
        try fixture.kill()
        guest.write(.status, 0)
        #expect(!fixture.isUp)
        #expect(try guest.start(queues: [0, 1, 2]))
        fixture.revive()
        #expect(guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 2 })
        #expect(fixture.messages(of: .setRingBase).map { $0.word(4) } == [0, 0])
        #expect(!guest.status.contains(.needsReset))
    }

    @Test func cableThatIsPulled_stopsTheRings() throws {
        let fixture = try Fixture()
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(try guest.start(queues: [0, 1, 2]))
        func set(_ up: Bool) { guest.transport.update(VhostUserNet.self) { $0.setLink(up: up) } }
        set(false)
        #expect(!fixture.isUp)
        #expect(guest.run(milliseconds: 10_000) { fixture.enabled == [0: 0, 1: 0] })
        // A back end that comes meanwhile is not a cable.
        try #require(fixture.backEnds.last).stop()
        fixture.backEnds.await(Self.kind())
        #expect(guest.run(milliseconds: 10_000) { fixture.backEnds.all.count == 2 && fixture.messages(of: .setRingEnable).count == 2 })
        #expect(fixture.enabled == [0: 0, 1: 0])
        #expect(!fixture.isUp)
        set(true)
        #expect(fixture.isUp)
        #expect(guest.run(milliseconds: 10_000) { fixture.enabled == [0: 1, 1: 1] })
    }

    @Test func messages_nameTheNetdev() throws {
        let space = try DeviceGuest.memory().0
        var text = ""
        do { _ = try VhostUserNet.connect(netdev: "n", path: "/nonexistent/socket", options: NetOptions(mac: Self.mac), memory: space.memory) } catch { text = "\(error)" }
        #expect(text == "-netdev n: cannot connect to '/nonexistent/socket': No such file or directory")
    }

    // MARK: Hostile

    @Test func hangUpAtEveryMessage_isFollowedByAnotherAttempt() throws {
        for index in 0..<21 {
            let fixture = try Fixture()
            defer { fixture.backEnds.stop() }
            #expect(try fixture.guest.start(queues: [0, 1, 2]))
            try fixture.kill()
            fixture.backEnds.await(Self.kind { count, _ in count == index ? .hangUp : .normal })
            #expect(fixture.guest.run(milliseconds: 10_000) { fixture.backEnds.all.count == 2 && fixture.backEnds.last?.hasEnded == true })
            fixture.backEnds.await(Self.kind())
            #expect(fixture.guest.run(milliseconds: 10_000) { fixture.backEnds.all.count == 3 && fixture.messages(of: .setRingEnable).count == 2 }, "message \(index)")
            #expect(!fixture.guest.status.contains(.needsReset))
        }
    }

    @Test func class19_ringOfTheControlQueueThatMakesNoSense_needsReset() throws {
        let fixture = try Fixture()
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(try guest.start(queues: [0, 1, 2]))
        try guest.memory.storeRelease16(17, at: guest.place(2).availableRing + 2)
        guest.kick(2)
        guest.transport.serveQueue(2)
        #expect(guest.status.contains(.needsReset))
        #expect(try guest.start(queues: [0, 1, 2]))
        // Commands by the hundred: a queue full at a time.
        for _ in 0..<200 { #expect(try fixture.command([4, 0, 1, 0], queue: 2) == 1) }
        #expect(!guest.status.contains(.needsReset))
    }
}
