import AddressSpace
import Glibc
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

@Suite struct VhostUserBlockTests {
    private static let tracking = BlockBackEnds.Kind(protocolFeatures: BlockBackEnds.tracking)
    /// What is added to a guest address that a message names.
    private static let user: UInt64 = 1 << 52

    @Test func identity_isTheBackEndsDisk() throws {
        let fixture = try BlockBackEndFixture()
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(guest.read(.deviceID) == 2)
        // Neither the limit that is none, nor the cache's mode, nor what is the protocol's.
        let wanted =
            VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | BlockFeature.segmentMaximum | BlockFeature.flush
            | BlockFeature.multiqueue | BlockFeature.topology
        #expect(guest.offeredFeatures == wanted)
        #expect(guest.config(0, 8) == 2048)
        // As many as fit the queue, and queues as there are.
        #expect(guest.config(12, 4) == 14)
        #expect(guest.config(20, 4) == 512)
        #expect(guest.config(34, 2) == 2)
        #expect(guest.config(60, 4) == 0)
        guest.write(.queueSelect, 1)
        #expect(guest.read(.queueSizeMaximum) == 16)
        guest.write(.queueSelect, 2)
        #expect(guest.read(.queueSizeMaximum) == 0)
        guest.transport.write(offset: MMIORegister.config, size: 8, value: 0)
        #expect(guest.config(0, 8) == 2048)
        let backEnd = try fixture.backEnd
        #expect(backEnd.waitFor(.getConfiguration))
        #expect(backEnd.requests == [1, 3, 15, 16, 17, 21, 24])
        #expect(fixture.messages(of: .setProtocolFeatures).first?.long(0) == BlockBackEnds.protocolFeatures)
        #expect(fixture.messages(of: .getConfiguration).first?.payload.count == 72)
    }

    @Test func sizeLimit_isOfferedWhereItIsOne() throws {
        let fixture = try BlockBackEndFixture(.init(configuration: BlockBackEnds.configuration(capacity: 1, sizeMaximum: 65536)))
        defer { fixture.backEnds.stop() }
        #expect(fixture.guest.offeredFeatures & BlockFeature.sizeMaximum != 0)
        #expect(fixture.guest.config(8, 4) == 65536)
    }

    @Test func queues_areThoseOfTheUserOrAsManyAsThereAre() throws {
        for (asked, offered, features, wanted) in [
            (nil, 2, BlockBackEnds.features, 2), (nil, 32, BlockBackEnds.features, 4), (1, 8, BlockBackEnds.features, 1), (8, 8, BlockBackEnds.features, 8),
            (nil, 8, BlockBackEnds.features & ~BlockFeature.multiqueue, 1),
        ] as [(Int?, UInt64, UInt64, Int)] {
            let fixture = try BlockBackEndFixture(.init(features: features, queueCount: offered), queues: asked)
            defer { fixture.backEnds.stop() }
            #expect(fixture.guest.transport.queueSizes.count == wanted)
            #expect(fixture.guest.config(34, 2) == UInt64(wanted))
            #expect((fixture.guest.offeredFeatures & BlockFeature.multiqueue != 0) == (wanted > 1))
        }
        #expect(throws: VhostUserError.tooFewQueues(offered: 2, needed: 3)) { _ = try BlockBackEndFixture(queues: 3) }
        #expect(throws: VhostUserError.tooFewQueues(offered: 1, needed: 2)) {
            _ = try BlockBackEndFixture(.init(features: BlockBackEnds.features & ~BlockFeature.multiqueue, queueCount: 8), queues: 2)
        }
    }

    @Test func backEndWithoutConfiguration_isRefused() throws {
        #expect(throws: VhostUserError.noConfiguration) { _ = try BlockBackEndFixture(.init(protocolFeatures: 1)) }
        #expect(throws: VhostUserError.noConfiguration) { _ = try BlockBackEndFixture(.init(features: VirtioFeature.version1)) }
    }

    @Test func messages_nameTheOption() throws {
        let options = VhostUserBlock.Options(chardev: "c", path: "/nonexistent/socket")
        for (isShared, wanted) in [
            (false, "a vhost-user device needs shared guest memory: add mem-share=on to -machine"),
            (true, "cannot connect to '/nonexistent/socket': No such file or directory"),
        ] {
            let space = try DeviceGuest.memory(isShared: isShared).0
            var text = ""
            do { _ = try VhostUserBlock.connect(options, memory: space.memory) } catch { text = "\(error)" }
            #expect(text == "-device vhost-user-blk-device,chardev=c: \(wanted)")
        }
    }

    // MARK: A back end that notes what it does

    @Test func tracking_theAreaComesBeforeTheRings() throws {
        let fixture = try BlockBackEndFixture(Self.tracking)
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(try guest.start(queues: [0, 1]))
        #expect(guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 2 })
        let backEnd = try fixture.backEnd
        #expect(Array(backEnd.requests.dropFirst(7)) == [2, 31, 32, 5, 8, 10, 9, 14, 13, 12, 8, 10, 9, 14, 13, 12, 18, 18])
        // Two queues of 16, both ways; the size is libvhost-user's.
        #expect(fixture.messages(of: .getInflight).first?.payload == [UInt8](repeating: 0, count: 16) + FakeBackEnd.words([2 | 16 << 16, 0]))
        let given = try #require(fixture.messages(of: .setInflight).first)
        #expect(given.long(0) == 640 && given.long(8) == 0 && given.word(16) == 2 | 16 << 16 && given.descriptorCount == 1)
        // The guest's own rings, and its own eventfds.
        #expect(fixture.messages(of: .setFeatures).first?.long(0) == guest.offeredFeatures | 1 << 30)
        #expect(fixture.messages(of: .setMemoryTable).first?.word(0) == 2)
        #expect(fixture.messages(of: .setRingAddresses).first?.long(16) == guest.place(0).usedRing + Self.user)
        guest.kick(1)
        var count = [UInt8](repeating: 0, count: 8)
        #expect(Glibc.read(try #require(backEnd.kick(1)), &count, 8) == 8)
        try OwnedFDBorrow.write(try #require(backEnd.call(1)), [1, 0, 0, 0, 0, 0, 0, 0])
        #expect(guest.line.takeEvents() == 1)
    }

    @Test func tracking_theNextBackEndGetsTheAreaAndGoesOn() throws {
        let fixture = try BlockBackEndFixture(Self.tracking)
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(try guest.start(queues: [0, 1]))
        #expect(guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 2 })
        func identity() throws -> FileStatus { try SysFile.status(of: OwnedFD(adopting: dup(try #require(try fixture.backEnd.inflight)))) }
        let area = try identity()
        for index in [5, 6] as [UInt16] {
            // What it took it took with the notification; then it gave something back, and died before it said so.
            try fixture.queue([1])
            guest.transport.notifications[0].drain()
            try guest.memory.storeRelease16(index, at: guest.place(0).usedRing + 2)
            _ = guest.line.takeEvents()
            try fixture.kill()
            #expect(guest.line.takeEvents() > 0 || guest.line.pulses > 0)
            try fixture.revive(Self.tracking)
            #expect(try identity().inode == area.inode)
            #expect(fixture.messages(of: .getInflight) == [])
            #expect(fixture.messages(of: .setInflight).first?.long(0) == 640)
            #expect(fixture.messages(of: .setRingBase).map { $0.word(4) } == [UInt32(index), 0])
            // It is woken.
            #expect(guest.run(milliseconds: 10_000) { guest.transport.notifications[0].drain() > 0 })
        }
        #expect(!fixture.needsReset)
        // After a reset nothing is in flight, and the area is a new one.
        guest.write(.status, 0)
        #expect(try guest.start(queues: [0, 1]))
        #expect(guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 4 })
        #expect(fixture.messages(of: .getInflight).count == 1)
        #expect(fixture.messages(of: .setRingBase).suffix(2).map { $0.word(4) } == [0, 0])
    }

    // MARK: A back end that does not

    @Test func relay_passesHeadsAndKeepsDescriptorsWhereTheyAre() throws {
        let fixture = try BlockBackEndFixture()
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(try guest.start(queues: [0, 1]))
        let peer = try fixture.peer(0)
        let second = try fixture.peer(1)
        #expect(Array(try fixture.backEnd.requests.dropFirst(7)) == [2, 5, 8, 10, 9, 14, 13, 12, 8, 10, 9, 14, 13, 12, 18, 18])
        // Without the event index; one piece more.
        #expect(fixture.messages(of: .setFeatures).first?.long(0) == guest.offeredFeatures & ~VirtioFeature.eventIndex | 1 << 30)
        #expect(fixture.messages(of: .setMemoryTable).first?.word(0) == 3)
        for index in 0..<2 {
            let addresses = fixture.messages(of: .setRingAddresses)[index]
            #expect(addresses.long(8) == guest.place(index).descriptorTable + Self.user)
            #expect(addresses.long(16) >= 3 << 51 && addresses.long(24) >= 3 << 51)
        }
        _ = peer.kicks()
        try fixture.queue([3, 1])
        try fixture.queue([7], 1)
        #expect(peer.kicks() > 0)
        #expect(peer.take() == [3, 1])
        #expect(second.take() == [7])
        // In another order, and more than a ring full.
        try peer.give([1], length: 513)
        #expect(try fixture.used(1) == [1])
        #expect(guest.line.takeEvents() > 0 || guest.line.pulses > 0)
        try peer.give([3])
        #expect(try fixture.used(1) == [3])
        for _ in 0..<100 {
            try fixture.queue([2, 9])
            #expect(peer.take() == [2, 9])
            try peer.give([9, 2])
            #expect(try fixture.used(2) == [9, 2])
        }
        try second.give([7])
        #expect(try fixture.used(1, 1) == [7])
        #expect(!fixture.needsReset)
    }

    @Test func relay_theNextBackEndDoesWhatWasLeft_onceAndInOrder() throws {
        let fixture = try BlockBackEndFixture()
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(try guest.start(queues: [0, 1]))
        var peer = try fixture.peer(0)
        // More than a ring full have come and gone out of order, so that neither ring remembers the first.
        try fixture.queue([15])
        #expect(peer.take() == [15])
        for _ in 0..<40 {
            try fixture.queue([0, 1, 2])
            _ = peer.take()
            try peer.give([2, 0, 1])
            #expect(try fixture.used(3) == [2, 0, 1])
        }
        try fixture.queue([4, 3, 8, 6])
        #expect(peer.take() == [4, 3, 8, 6])
        // Two are done; of the second nobody was told.
        try peer.give([8])
        #expect(try fixture.used(1) == [8])
        try peer.give([3], says: false)
        try fixture.kill()
        #expect(try fixture.used(1) == [3])
        // Nobody is there.
        try fixture.queue([8])
        try fixture.queue([9], 1)
        try fixture.revive()
        peer = try fixture.peer(0)
        #expect(peer.kicks() > 0)
        #expect(peer.take() == [15, 4, 6, 8])
        #expect(try fixture.peer(1).take() == [9])
        try peer.give([6, 15, 8, 4])
        #expect(try fixture.used(4) == [6, 15, 8, 4])
        // The old one's rings are not the new one's.
        #expect(!fixture.needsReset)
        for _ in 0..<5 {
            try fixture.queue([5])
            try fixture.kill()
            try fixture.revive()
            peer = try fixture.peer(0)
            #expect(peer.take() == [5])
            try peer.give([5])
            #expect(try fixture.used(1) == [5])
        }
    }

    @Test func resetsWhileNobodyIsThere_endAtOnce_andTheDeviceStartsLater() throws {
        for kind in [Self.tracking, .init()] {
            let fixture = try BlockBackEndFixture(kind)
            defer { fixture.backEnds.stop() }
            let guest = fixture.guest
            #expect(try guest.start(queues: [0, 1]))
            try fixture.kill()
            for _ in 0..<3 {
                let start = Clock.monotonicNanoseconds()
                guest.write(.status, 0)
                #expect(Clock.monotonicNanoseconds() - start < 5_000_000_000)
                #expect(guest.config(0, 8) == 2048)
                #expect(try guest.start(queues: [0, 1]))
            }
            try fixture.queue([2])
            try fixture.revive(kind)
            if kind.protocolFeatures == BlockBackEnds.protocolFeatures { #expect(try fixture.peer(0).take() == [2]) }
            #expect(fixture.messages(of: .setRingBase).map { $0.word(4) } == [0, 0])
            // Whatever was notified meanwhile is notified again.
            if kind.protocolFeatures == BlockBackEnds.tracking { #expect(guest.transport.notifications[0].drain() > 0) }
            guest.write(.status, 0)
            #expect(fixture.messages(of: .getRingBase).count == 2)
            #expect(!fixture.needsReset)
        }
    }

    @Test func queueTakenBackWhileNobodyIsThere_isNotGivenToTheNext() throws {
        let fixture = try BlockBackEndFixture()
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        try fixture.kill()
        fixture.guest.write(.queueSelect, 0)
        fixture.guest.write(.queueReady, 0)
        try fixture.revive(rings: 1)
        #expect(fixture.messages(of: .setKick).map { $0.long(0) } == [1])
    }

    @Test func backEndThatCanDoLess_costsASession() throws {
        for less in [
            BlockBackEnds.Kind(features: BlockBackEnds.features & ~BlockFeature.flush, protocolFeatures: BlockBackEnds.tracking),
            BlockBackEnds.Kind(),
        ] {
            let fixture = try BlockBackEndFixture(Self.tracking)
            defer { fixture.backEnds.stop() }
            #expect(try fixture.guest.start(queues: [0, 1]))
            #expect(fixture.guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 2 })
            try fixture.kill()
            fixture.backEnds.await(less)
            #expect(fixture.guest.run(milliseconds: 10_000) { fixture.needsReset })
            #expect(fixture.messages(of: .setKick) == [])
            // The guest takes what there is.
            #expect(try fixture.guest.start(queues: [0, 1]))
            #expect(fixture.guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 2 })
            #expect(!fixture.guest.status.contains(.needsReset))
        }
    }

    @Test func backEndWithTooFewQueues_isNotTheNext() throws {
        let fixture = try BlockBackEndFixture()
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        try fixture.kill()
        fixture.backEnds.await(.init(queueCount: 1))
        #expect(fixture.guest.run(milliseconds: 10_000) { fixture.backEnds.all.count == 2 && fixture.backEnds.last?.hasEnded == true })
        try fixture.revive()
        #expect(!fixture.needsReset)
    }

    // MARK: Configuration

    @Test func newSize_reachesTheGuest_byTheChannelAndByANewBackEnd() throws {
        let fixture = try BlockBackEndFixture()
        defer { fixture.backEnds.stop() }
        let guest = fixture.guest
        #expect(try guest.start(queues: [0, 1]))
        _ = try fixture.peer(1)
        _ = guest.line.takeEvents()
        let generation = guest.read(.configGeneration)
        let backEnd = try fixture.backEnd
        backEnd.configuration.withLock { $0 = BlockBackEnds.configuration(capacity: 4096) }
        try OwnedFDBorrow.write(try #require(backEnd.channel), FakeBackEnd.words([2, 9, 0]))
        #expect(guest.run(milliseconds: 10_000) { guest.config(0, 8) == 4096 })
        #expect(guest.read(.configGeneration) != generation)
        #expect(guest.read(.interruptStatus) & VirtioInterrupt.configurationChange != 0)
        // It wanted an acknowledgement.
        var answer = [UInt8](repeating: 0, count: 64)
        #expect(Glibc.read(try #require(backEnd.channel), &answer, 64) == 20)
        #expect(Array(answer.prefix(20)) == FakeBackEnd.words([2, 5, 8, 0, 0]))
        guest.write(.interruptAcknowledge, 3)
        try fixture.kill()
        try fixture.revive(.init(configuration: BlockBackEnds.configuration(capacity: 8192)))
        #expect(guest.run(milliseconds: 10_000) { guest.config(0, 8) == 8192 })
        #expect(guest.read(.interruptStatus) & VirtioInterrupt.configurationChange != 0)
        #expect(guest.config(34, 2) == 2)
        // The same again is no news.
        guest.write(.interruptAcknowledge, 3)
        try OwnedFDBorrow.write(try #require(try fixture.backEnd.channel), FakeBackEnd.words([2, 1, 0]))
        #expect(guest.run(milliseconds: 10_000) { fixture.messages(of: .getConfiguration).count == 2 })
        #expect(!guest.run(milliseconds: 50) { guest.read(.interruptStatus) & VirtioInterrupt.configurationChange != 0 })
    }
}
