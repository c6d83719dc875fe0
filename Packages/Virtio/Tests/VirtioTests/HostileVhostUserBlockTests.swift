import AddressSpace
import Glibc
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Disks of back ends that lie, die or come only to go: the guest waits for a better one, and everybody else for nobody.
@Suite struct HostileBlockBackEndTests {
    private static let getConfiguration = VhostUserRequest.getConfiguration.rawValue
    private static let getInflight = VhostUserRequest.getInflight.rawValue

    private func kind(tracks: Bool = false, _ script: @escaping FakeBackEnd.Script) -> BlockBackEnds.Kind {
        BlockBackEnds.Kind(protocolFeatures: tracks ? BlockBackEnds.tracking : BlockBackEnds.protocolFeatures, script: script)
    }

    /// What the first handshake ends with.
    private func failure(_ script: @escaping FakeBackEnd.Script) throws -> VhostUserError? {
        do { try BlockBackEndFixture(kind(script)).backEnds.stop() } catch let error as VhostUserError { return error }
        return nil
    }

    // MARK: Configuration

    @Test func class15_configurationsThatAreNone_areRefused() throws {
        let good = BlockBackEnds.configuration(capacity: 2048)
        @Sendable func reply(_ payload: [UInt8], type: UInt32 = 24, size: UInt32? = nil) -> [UInt8] { FakeBackEnd.words([type, 5, size ?? UInt32(payload.count)]) + payload }
        let head = FakeBackEnd.words([0, 60, 0])
        let cases: [([UInt8], VhostUserError)] = [
            // Nothing: it has failed.
            (reply([]), .refused(request: "GET_CONFIG")),
            // Short, long, and what would wrap or fill memory.
            (reply(head + good.dropLast()), .violation(.wrongSize(71))), (reply(head + good + [0]), .violation(.wrongSize(73))),
            (reply(head, size: .max), .violation(.wrongSize(.max))), (reply(head, size: 1 << 30), .violation(.wrongSize(1 << 30))),
            (reply([0, 0, 0, 0, 0, 0, 0, 0]), .violation(.wrongSize(8))),
            // The message has the right size, and says another.
            (reply(FakeBackEnd.words([0, 61, 0]) + good), .violation(.wrongSize(61))), (reply(FakeBackEnd.words([0, 0, 0]) + good), .violation(.wrongSize(0))),
            (reply(head + good, type: 17), .violation(.wrongRequest(17))), (reply(head + good, type: 25), .violation(.wrongRequest(25))),
            // Sectors whose bytes no file has.
            (reply(head + BlockBackEnds.configuration(capacity: .max)), .violation(.configuration)),
            (reply(head + BlockBackEnds.configuration(capacity: 1 << 55)), .violation(.configuration)),
        ]
        for (bytes, error) in cases {
            #expect(try failure({ _, message in message.request == Self.getConfiguration ? .send(bytes) : .normal }) == error)
        }
        #expect(try failure { _, message in message.request == Self.getConfiguration ? .send(reply(head + good), descriptors: 1) : .normal }
            == .violation(.descriptors))
        #expect(try failure { _, message in message.request == Self.getConfiguration ? .flood : .normal } == .violation(.wrongRequest(0x5a5a_5a5a)))
        for count in [0, 11, 12, 13, 23, 24, 83] {
            #expect(try failure { _, message in message.request == Self.getConfiguration ? .answerPartAndHangUp(count) : .normal } == .hungUp)
        }
    }

    @Test func anyNumbersInTheConfiguration_areTheGuestsToRead() throws {
        for segments in [0, 1, 2, .max] as [UInt32] {
            let fixture = try BlockBackEndFixture(.init(configuration: BlockBackEnds.configuration(capacity: 0, sizeMaximum: .max, segments: segments, queues: .max)))
            defer { fixture.backEnds.stop() }
            #expect(fixture.guest.config(0, 8) == 0)
            #expect(fixture.guest.config(12, 4) == UInt64(min(segments, 14)))
            #expect(fixture.guest.config(34, 2) == 2)
        }
    }

    @Test func class15_theChannelOfTheBackEnd_takesOneMessageOnly() throws {
        for bytes in [
            FakeBackEnd.words([1, 1, 0]), FakeBackEnd.words([3, 1, 24]), FakeBackEnd.words([.max, 1, 0]), FakeBackEnd.words([2, 0, 0]),
            FakeBackEnd.words([2, 5, 0]), FakeBackEnd.words([2, 1, 8]), FakeBackEnd.words([2, 1, .max]), [UInt8](repeating: 0x5a, count: 4096),
        ] {
            let fixture = try BlockBackEndFixture()
            defer { fixture.backEnds.stop() }
            #expect(try fixture.guest.start(queues: [0, 1]))
            _ = try fixture.peer(1)
            let dials = fixture.backEnds.dials
            try OwnedFDBorrow.write(try #require(try fixture.backEnd.channel), bytes)
            // It is given up, and another one is looked for.
            #expect(fixture.guest.run(milliseconds: 10_000) { fixture.backEnds.dials > dials })
            try fixture.revive()
            #expect(!fixture.needsReset)
        }
    }

    @Test func class7_aChannelFullOfChanges_asksOneQuestionAtATime() throws {
        let fixture = try BlockBackEndFixture(kind { index, message in message.request == Self.getConfiguration && index > 7 ? .silent : .normal })
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        _ = try fixture.peer(1)
        let message = FakeBackEnd.words([2, 1, 0])
        try OwnedFDBorrow.write(try #require(try fixture.backEnd.channel), (0..<500).flatMap { _ in message })
        #expect(fixture.guest.run(milliseconds: 10_000) { fixture.messages(of: .getConfiguration).count == 2 })
        #expect(!fixture.guest.run(milliseconds: 100) { fixture.messages(of: .getConfiguration).count > 2 })
        #expect(!fixture.needsReset)
    }

    @Test func class15_aChannelThatIsClosed_costsNothing() throws {
        let fixture = try BlockBackEndFixture()
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        _ = try fixture.peer(1)
        _ = shutdown(try #require(try fixture.backEnd.channel), Int32(SHUT_RDWR))
        #expect(!fixture.guest.run(milliseconds: 50) { fixture.backEnds.dials > 1 || fixture.needsReset })
        // It is not watched any more.
        var poll = pollfd(fd: fixture.guest.transport.state.withLock { $0.device.eventSources[0] }, events: Int16(POLLIN), revents: 0)
        #expect(Glibc.poll(&poll, 1, 0) == 0)
    }

    // MARK: Requests in flight

    @Test func class22_areasThatAreNotWhatWasAskedFor_costTheBackEndOnly() throws {
        let shape: UInt32 = 2 | 16 << 16
        let file = try FakeBackEnd.memoryFile(8192)
        let small = try FakeBackEnd.memoryFile(543)
        let folder = OwnedFD(adopting: open("/tmp", O_RDONLY | O_DIRECTORY))
        let null = OwnedFD(adopting: open("/dev/null", O_RDWR))
        let (whole, half, folderNumber, nullNumber) = (file.raw, small.raw, folder.raw, null.raw)
        @Sendable func reply(_ size: UInt64, _ offset: UInt64 = 0) -> [UInt8] { FakeBackEnd.inflightReply(size: size, offset: offset, shape: shape) }
        // Two regions of 16 bytes and 16 states of 16 are 544.
        let bad: [FakeBackEnd.Action] = [
            .sendFiles(reply(543), [whole]), .sendFiles(reply(0), [whole]), .sendFiles(reply(544), [half]), .sendFiles(reply(8193), [whole]),
            .sendFiles(reply(544, 8192), [whole]), .sendFiles(reply(544, 1), [whole]), .sendFiles(reply(544, .max - 4095), [whole]),
            .sendFiles(reply(.max), [whole]), .sendFiles(reply(.max, 4096), [whole]), .sendFiles(reply(544), [folderNumber]), .sendFiles(reply(544), [nullNumber]),
            .sendFiles(reply(544), []), .sendFiles(reply(544), [whole, whole]), .send(FakeBackEnd.words([31, 5, 8, 0, 0]), descriptors: 1),
            .send(FakeBackEnd.words([31, 5, 0])), .answerPartAndHangUp(13), .flood, .hangUp,
        ]
        for action in bad {
            let fixture = try BlockBackEndFixture(kind(tracks: true) { _, message in message.request == Self.getInflight ? action : .normal })
            defer { fixture.backEnds.stop() }
            #expect(try fixture.guest.start(queues: [0, 1]))
            #expect(fixture.guest.run(milliseconds: 10_000) { fixture.backEnds.dials > 1 }, "\(action)")
            #expect(fixture.messages(of: .setInflight) == [])
            #expect(fixture.messages(of: .setKick) == [])
            try fixture.revive(.init(protocolFeatures: BlockBackEnds.tracking))
            #expect(!fixture.needsReset)
        }
        let fixture = try BlockBackEndFixture(kind(tracks: true) { _, message in message.request == Self.getInflight ? .sendFiles(reply(544, 4096), [whole]) : .normal })
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        #expect(fixture.guest.run(milliseconds: 10_000) { fixture.messages(of: .setKick).count == 2 })
    }

    @Test func areaThatNeverComes_isWaitedForAndAskedOfAnother_andResetsEnd() throws {
        let limits = VhostUser.Limits(start: 300_000_000, reset: 100_000_000, stop: 50_000_000, redial: 1_000_000...20_000_000)
        let fixture = try BlockBackEndFixture(kind(tracks: true) { _, message in message.request == Self.getInflight ? .silent : .normal }, limits: limits)
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        try fixture.revive(.init(protocolFeatures: BlockBackEnds.tracking))
        #expect(fixture.backEnds.all.count == 2)
        let other = try BlockBackEndFixture(kind(tracks: true) { _, message in message.request == Self.getInflight ? .silent : .normal }, limits: limits)
        defer { other.backEnds.stop() }
        for _ in 0..<3 {
            try other.guest.start(queues: [0, 1])
            other.guest.write(.status, 0)
            #expect(other.guest.status.rawValue == 0)
        }
    }

    // MARK: Rings of a relay

    @Test func class22_usedRingsThatLie_costTheBackEndOnly() throws {
        let lies: [(RelayPeer) throws -> Void] = [
            // More than it has; a head that it does not have, or has given back; one that is none.
            { $0.setUsedIndex(4); try $0.say() }, { $0.setUsedIndex(.max); try $0.say() }, { try $0.give([5]) }, { try $0.give([1, 1]) },
            { try $0.give([16]) }, { try $0.give([.max]) }, { try $0.give([0x1_0001]) }, { try $0.give([1, 2, 3, 1]) },
        ]
        for (number, lie) in lies.enumerated() {
            let fixture = try BlockBackEndFixture()
            defer { fixture.backEnds.stop() }
            #expect(try fixture.guest.start(queues: [0, 1]))
            let peer = try fixture.peer(0)
            try fixture.queue([1, 2, 3])
            _ = peer.take()
            let dials = fixture.backEnds.dials
            try lie(peer)
            #expect(fixture.guest.run(milliseconds: 10_000) { fixture.backEnds.dials > dials }, "lie \(number)")
            try fixture.revive()
            // Nothing is lost, and nothing is done twice for the guest.
            let left = try fixture.peer(0)
            let heads = left.take()
            try left.give(heads.map(UInt32.init))
            #expect(try Set(fixture.used(3)) == [1, 2, 3])
            #expect(try fixture.guest.newUsed(0) == [])
            #expect(!fixture.needsReset)
        }
    }

    @Test func staleBackEnd_hasNoRingOfTheNext() throws {
        let fixture = try BlockBackEndFixture()
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        let old = try fixture.peer(0)
        try fixture.queue([1, 2])
        try fixture.kill()
        try fixture.revive()
        _ = try fixture.peer(0).take()
        // It hung up, and goes on writing.
        try old.give([1, 2])
        #expect(!fixture.guest.run(milliseconds: 50) { (try? fixture.guest.newUsed(0)) != [] })
        #expect(!fixture.needsReset)
    }

    @Test func class19_headsOfferedTwice_needReset() throws {
        for heads in [[3, 3], [1, 2, 1]] as [[UInt16]] {
            let fixture = try BlockBackEndFixture()
            defer { fixture.backEnds.stop() }
            #expect(try fixture.guest.start(queues: [0, 1]))
            _ = try fixture.peer(0)
            try fixture.queue(heads)
            #expect(fixture.needsReset)
            #expect(try fixture.guest.start(queues: [0, 1]))
        }
        // Also while nobody is there.
        let fixture = try BlockBackEndFixture()
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        try fixture.kill()
        try fixture.queue([3, 3])
        #expect(fixture.needsReset)
        fixture.guest.write(.status, 0)
        #expect(try fixture.guest.start(queues: [0, 1]))
        try fixture.queue([4])
        try fixture.revive()
        #expect(try fixture.peer(0).take() == [4])
    }

    @Test(.timeLimit(.minutes(1))) func backEndThatNeverReadsItsNotifications_holdsNobodyUp() throws {
        let fixture = try BlockBackEndFixture()
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        let peer = try fixture.peer(0)
        // Its end of the pipe is blocking now; ours is not.
        _ = fcntl(try #require(try fixture.backEnd.kick(0)), F_SETFL, 0)
        for _ in 0..<20_000 {
            try fixture.queue([1])
            _ = peer.take()
            try peer.give([1], says: false)
            fixture.guest.serveSources()
            try peer.say()
            fixture.guest.serveSources()
        }
        #expect(try fixture.guest.newUsed(0).last?.id == 1)
    }

    // MARK: One after the other

    @Test func hangUpAtEveryMessage_isFollowedByAnotherAttempt() throws {
        for tracks in [false, true] {
            // The area is there already: it is handed over, and not asked for.
            for index in 0..<(tracks ? 24 : 23) {
                let fixture = try BlockBackEndFixture(.init(protocolFeatures: tracks ? BlockBackEnds.tracking : BlockBackEnds.protocolFeatures))
                defer { fixture.backEnds.stop() }
                #expect(try fixture.guest.start(queues: [0, 1]))
                #expect(fixture.guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 2 })
                if !tracks { try fixture.queue([2]) }
                try fixture.kill()
                fixture.backEnds.await(kind(tracks: tracks) { count, _ in count == index ? .hangUp : .normal })
                let dials = fixture.backEnds.dials
                #expect(fixture.guest.run(milliseconds: 10_000) { fixture.backEnds.dials > dials + 1 }, "message \(index)")
                try fixture.revive(.init(protocolFeatures: tracks ? BlockBackEnds.tracking : BlockBackEnds.protocolFeatures))
                if !tracks { #expect(try fixture.peer(0).take() == [2]) }
                #expect(!fixture.needsReset, "message \(index)")
            }
        }
    }

    @Test func backEndsThatComeOnlyToGo_areNotAskedInALoop() throws {
        let limits = VhostUser.Limits(start: 20_000_000_000, reset: 20_000_000_000, stop: 5_000_000_000, redial: 10_000_000...200_000_000)
        let fixture = try BlockBackEndFixture(limits: limits)
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        // Each of them answers, gets everything, and goes with the last message.
        for _ in 0..<100 { fixture.backEnds.await(kind { index, _ in index == 22 ? .hangUp : .normal }) }
        let start = Clock.monotonicNanoseconds()
        try fixture.kill()
        _ = fixture.guest.run(milliseconds: 1500) { false }
        // 10, 20, 40, 80, 160, then 200 ms each.
        let time = (Clock.monotonicNanoseconds() - start) / 1_000_000
        #expect(fixture.backEnds.dials <= 1 + 5 + 1 + Int(time / 200))
        #expect(fixture.backEnds.dials > 4)
        #expect(!fixture.needsReset)
    }

    @Test func class28_silenceInAHandshake_leavesTheLockToOthers_andEnds() throws {
        let limits = VhostUser.Limits(start: 400_000_000, reset: 20_000_000_000, stop: 5_000_000_000, redial: 1_000_000...20_000_000)
        let fixture = try BlockBackEndFixture(limits: limits)
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        try fixture.kill()
        let dials = fixture.backEnds.dials
        fixture.backEnds.await(kind { _, _ in .silent })
        // Turns of the loop, and resets, while it is silent.
        var turns = 0
        #expect(fixture.guest.run(milliseconds: 10_000) {
            turns += 1
            if turns % 10 == 0 {
                fixture.guest.write(.status, 0)
                _ = try? fixture.guest.start(queues: [0, 1])
            }
            return fixture.backEnds.dials > dials + 1 && fixture.backEnds.all.count == 2
        })
        #expect(turns > 50)
        try fixture.revive()
        #expect(!fixture.needsReset)
    }

    /// The dead back end's fellow has the notification's open file: it is blocking, and full.
    @Test(.timeLimit(.minutes(1))) func notificationThatIsFullAndBlocking_holdsNobodyUp() throws {
        let fixture = try BlockBackEndFixture(.init(protocolFeatures: BlockBackEnds.tracking))
        defer { fixture.backEnds.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        #expect(fixture.guest.run(milliseconds: 10_000) { fixture.messages(of: .setRingEnable).count == 2 })
        let kick = dup(try #require(try fixture.backEnd.kick(0)))
        defer { close(kick) }
        fixture.guest.transport.notifications[0].drain()
        _ = fcntl(kick, F_SETFL, 0)
        try OwnedFDBorrow.write(kick, [0xfe] + [UInt8](repeating: 0xff, count: 7))
        try fixture.kill()
        try fixture.revive(.init(protocolFeatures: BlockBackEnds.tracking))
        #expect(!fixture.needsReset)
    }

    // MARK: Anything

    @Test(.timeLimit(.minutes(2)), arguments: 0..<40 as Range<UInt64>) func randomBackEnds_loseNothing(seed: UInt64) throws {
        let generator = Mutex(SeededGenerator(seed: seed))
        let limits = VhostUser.Limits(start: 50_000_000, reset: 50_000_000, stop: 50_000_000, redial: 1_000_000...5_000_000)
        let script: FakeBackEnd.Script = { _, message in
            generator.withLock { random in
                switch Int.random(in: 0..<40, using: &random) {
                case 0: .hangUp
                case 1: .silent
                case 2: .flood
                case 3: .answerPartAndHangUp(Int.random(in: 0...80, using: &random))
                case 4: .send((0..<Int.random(in: 1...128, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
                case 5: .send([UInt8](repeating: 0, count: 20), descriptors: Int.random(in: 1...9, using: &random))
                case 6: .send(FakeBackEnd.words([message.request, 5, 8, UInt32.random(in: 0...1, using: &random), UInt32.random(in: 0...1, using: &random)]))
                case 7: .late(milliseconds: Int.random(in: 0...20, using: &random))
                default: .normal
                }
            }
        }
        let tracks = seed % 2 == 0
        let good = BlockBackEnds.Kind(protocolFeatures: tracks ? BlockBackEnds.tracking : BlockBackEnds.protocolFeatures)
        let fixture = try BlockBackEndFixture(good, limits: limits)
        defer { fixture.backEnds.stop() }
        for _ in 0..<6 { fixture.backEnds.await(kind(tracks: tracks, script)) }
        try fixture.guest.start(queues: [0, 1])
        if !tracks { try fixture.queue([1, 2, 3]) }
        for _ in 0..<6 {
            fixture.backEnds.last?.stop()
            _ = fixture.guest.run(milliseconds: Int.random(in: 1...60)) { fixture.needsReset }
            if Bool.random() {
                fixture.guest.write(.status, 0)
                #expect(fixture.guest.status.rawValue == 0)
                try fixture.guest.start(queues: [0, 1])
                if !tracks { try fixture.queue([1, 2, 3]) }
            }
        }
        // With a good one all is well again.
        fixture.backEnds.last?.stop()
        for _ in 0..<20 { fixture.backEnds.await(good) }
        #expect(fixture.guest.run(milliseconds: 20_000) {
            if fixture.needsReset { _ = try? fixture.guest.start(queues: [0, 1]) }
            return fixture.messages(of: .setRingEnable).count >= 2
        })
    }
}
