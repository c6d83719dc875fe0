import AddressSpace
import Glibc
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Back ends that lie, stammer, flood, fall silent or die. None may cost the virtual machine more than the device, or hold it up.
@Suite struct HostileBackEndTests {
    private static let impatient = VhostUser.Limits(start: 100_000_000, reset: 100_000_000, stop: 100_000_000)

    /// What the handshake ends with, and how long it took.
    private func handshake(
        limits: VhostUser.Limits = VhostUserFixture.limits, _ script: @escaping FakeBackEnd.Script
    ) throws -> (error: VhostUserError?, nanoseconds: UInt64) {
        let (backEnd, socket) = try FakeBackEnd.start(script)
        defer { backEnd.stop() }
        let start = Clock.monotonicNanoseconds()
        var caught: VhostUserError?
        do throws(VhostUserError) {
            _ = try VhostUserFileSystem(VhostUserConnection(OwnedFD(adopting: socket)), tag: "t", numRequestQueues: 1, limits: limits)
        } catch { caught = error }
        return (caught, Clock.monotonicNanoseconds() - start)
    }

    private static let handshakeReplies: [VhostUserRequest] = [.getFeatures, .getProtocolFeatures, .getQueueCount]
    /// Of `activate` with both queues, in order.
    private static let sessionRequests: [UInt32] = [2, 5, 8, 10, 9, 14, 13, 12, 8, 10, 9, 14, 13, 12, 18, 18]
    private static let handshakeCount = 5

    // MARK: At start

    @Test func hangUpAtEveryByteOfEveryAnswer_atStart_isAHangUp() throws {
        for request in Self.handshakeReplies {
            for count in 0..<20 {
                let result = try handshake { _, message in message.request == request.rawValue ? .answerPartAndHangUp(count) : .normal }
                #expect(result.error == .hungUp, "\(request) after \(count) bytes")
            }
        }
    }

    @Test func silenceAfterEveryByteOfEveryAnswer_atStart_isBounded() throws {
        for request in Self.handshakeReplies {
            for count in [0, 1, 11, 12, 13, 19] {
                let result = try handshake(limits: Self.impatient) { _, message in
                    guard message.request == request.rawValue else { return .normal }
                    let words = [message.request, 5, 8, 1, 1]
                    let whole = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) } }
                    return .send(Array(whole.prefix(count)))
                }
                #expect(result.error == .silent, "\(request) after \(count) bytes")
                #expect(result.nanoseconds < 5_000_000_000)
            }
        }
    }

    @Test func backEndThatNeverReads_atStart_isBounded() throws {
        var numbers: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &numbers) == 0)
        let far = OwnedFD(adopting: numbers[1])
        #expect(throws: VhostUserError.silent) {
            _ = try VhostUserFileSystem(
                VhostUserConnection(OwnedFD(adopting: numbers[0])), tag: "t", numRequestQueues: 1, limits: Self.impatient)
        }
        _ = far.raw
    }

    @Test func class15_wrongHeaders_atStart_areTold() throws {
        func header(_ request: UInt32, _ flags: UInt32, _ size: UInt32) -> [UInt8] {
            [request, flags, size, 0, 0].flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) } }
        }
        let cases: [([UInt8], VhostUserError.Violation)] = [
            (header(2, 5, 8), .wrongRequest(2)),
            (header(0, 5, 8), .wrongRequest(0)),
            (header(.max, 5, 8), .wrongRequest(.max)),
            // No reply, another version, unknown flags.
            (header(1, 1, 8), .wrongFlags(1)),
            (header(1, 4, 8), .wrongFlags(4)),
            (header(1, 6, 8), .wrongFlags(6)),
            (header(1, 0x8000_0005, 8), .wrongFlags(0x8000_0005)),
            // Sizes of nothing, half of it, more, and what would wrap.
            (header(1, 5, 0), .wrongSize(0)),
            (header(1, 5, 4), .wrongSize(4)),
            (header(1, 5, 9), .wrongSize(9)),
            (header(1, 5, 0x7fff_ffff), .wrongSize(0x7fff_ffff)),
            (header(1, 5, .max), .wrongSize(.max)),
            ([UInt8](repeating: 0xff, count: 20), .wrongRequest(.max)),
        ]
        for (bytes, violation) in cases {
            #expect(try handshake { _, message in message.request == 1 ? .send(bytes) : .normal }.error == .violation(violation))
        }
    }

    @Test func class7_floodAtStart_endsAtTheFirstWrongByte() throws {
        for request in Self.handshakeReplies {
            let result = try handshake { _, message in message.request == request.rawValue ? .flood : .normal }
            #expect(result.error == .violation(.wrongRequest(0x5a5a_5a5a)))
        }
    }

    @Test func class15_descriptorsAtStart_areClosedAndTheEnd() throws {
        for (count, part) in [(1, 20), (8, 20), (253, 1)] {
            let (backEnd, socket) = try FakeBackEnd.start { _, message in .send([UInt8](repeating: 1, count: part), descriptors: count) }
            defer { backEnd.stop() }
            #expect(throws: VhostUserError.violation(.descriptors)) {
                _ = try VhostUserFileSystem(VhostUserConnection(OwnedFD(adopting: socket)), tag: "t", numRequestQueues: 1)
            }
        }
    }

    @Test func answerNobodyAskedFor_atStart_isAViolation() throws {
        // SET_OWNER is not to be answered; what comes stands before the answer to the next request.
        let result = try handshake { _, message in
            message.request == VhostUserRequest.setOwner.rawValue ? .send([3, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) : .normal
        }
        #expect(result.error == .violation(.wrongRequest(3)))
    }

    // MARK: While the guest runs

    @Test func hangUpAtEveryMessageOfASession_costsTheDeviceOnly() throws {
        for index in Self.sessionRequests.indices {
            let fixture = try VhostUserFixture { count, _ in count == Self.handshakeCount + index ? .hangUp : .normal }
            defer { fixture.backEnd.stop() }
            try fixture.guest.start(queues: [0, 1])
            #expect(fixture.failsSoon(), "message \(index)")
            try expectDead(fixture)
        }
    }

    @Test func hangUpAtEveryByteOfAnAcknowledgement_costsTheDeviceOnly() throws {
        for count in 0..<20 {
            let fixture = try VhostUserFixture { index, _ in index == Self.handshakeCount + 1 ? .answerPartAndHangUp(count) : .normal }
            defer { fixture.backEnd.stop() }
            try fixture.guest.start(queues: [0, 1])
            #expect(fixture.failsSoon(), "after \(count) bytes")
            try expectDead(fixture)
        }
    }

    @Test func hangUpAtEveryByteOfTheAnswerToAReset_endsTheReset() throws {
        for count in 0..<20 {
            let fixture = try VhostUserFixture { _, message in message.request == VhostUserRequest.getRingBase.rawValue ? .answerPartAndHangUp(count) : .normal }
            defer { fixture.backEnd.stop() }
            try fixture.guest.start(queues: [0, 1])
            fixture.guest.write(.status, 0)
            #expect(fixture.guest.status.rawValue == 0)
            try expectDead(fixture)
        }
    }

    @Test func hangUpWhileNothingHappens_isNoticed() throws {
        let end = Atomic<Bool>(false)
        let fixture = try VhostUserFixture { _, message in end.load(ordering: .relaxed) ? .hangUp : .normal }
        defer { fixture.backEnd.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        #expect(fixture.backEnd.waitFor(.setRingEnable, count: 2))
        #expect(!fixture.guest.run(milliseconds: 20) { fixture.guest.status.contains(.needsReset) })
        fixture.backEnd.stop()
        #expect(fixture.failsSoon())
        try expectDead(fixture)
    }

    @Test func hangUpBeforeTheDriver_isRemembered() throws {
        let fixture = try VhostUserFixture()
        fixture.backEnd.stop()
        #expect(!fixture.guest.run(milliseconds: 20) { fixture.guest.status.contains(.needsReset) })
        try expectDead(fixture)
    }

    @Test func refusalOfEveryRequest_costsTheDeviceOnly() throws {
        for index in Self.sessionRequests.indices {
            let fixture = try VhostUserFixture { count, message in
                guard count == Self.handshakeCount + index else { return .normal }
                return .send([message.request, 5, 8, 1, 0].flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) } })
            }
            defer { fixture.backEnd.stop() }
            try fixture.guest.start(queues: [0, 1])
            #expect(fixture.failsSoon(), "message \(index)")
            try expectDead(fixture)
        }
    }

    @Test func class7_floodWhileTheGuestRuns_endsAtOnce() throws {
        for index in [Self.handshakeCount, Self.handshakeCount + 15] {
            let fixture = try VhostUserFixture { count, _ in count == index ? .flood : .normal }
            defer { fixture.backEnd.stop() }
            try fixture.guest.start(queues: [0, 1])
            #expect(fixture.failsSoon())
            try expectDead(fixture)
        }
    }

    @Test func answersNobodyAskedFor_whileTheGuestRuns_areAViolation() throws {
        let fixture = try VhostUserFixture { count, message in
            guard count == Self.handshakeCount + 15 else { return .normal }
            // The acknowledgement, and then another one.
            let answer = [message.request, 5, 8, 0, 0].flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) } }
            return .send(answer + answer)
        }
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        #expect(fixture.failsSoon())
        try expectDead(fixture)
    }

    @Test func class15_descriptorsWhileTheGuestRuns_areAViolation() throws {
        let fixture = try VhostUserFixture { count, message in
            count == Self.handshakeCount ? .send([2, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], descriptors: 4) : .normal
        }
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        #expect(fixture.failsSoon())
        try expectDead(fixture)
    }

    @Test func class22_ringThatTheBackEndCannotUse_costsTheDeviceOnly() throws {
        let fixture = try VhostUserFixture()
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        #expect(fixture.backEnd.waitFor(.setRingEnable, count: 2))
        try OwnedFDBorrow.write(try #require(fixture.backEnd.errorEvent(1)), [1, 0, 0, 0, 0, 0, 0, 0])
        #expect(fixture.failsSoon())
        try expectDead(fixture)
    }

    // MARK: Time

    @Test func backEndThatNeverAnswersAReset_isWaitedForAndGivenUp() throws {
        let fixture = try VhostUserFixture(limits: .init(start: 2_000_000_000, reset: 150_000_000, stop: 50_000_000)) { _, message in
            message.request == VhostUserRequest.getRingBase.rawValue ? .silent : .normal
        }
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        let start = Clock.monotonicNanoseconds()
        fixture.guest.write(.status, 0)
        let taken = Clock.monotonicNanoseconds() - start
        #expect(taken >= 150_000_000 && taken < 5_000_000_000)
        #expect(fixture.guest.status.rawValue == 0)
        try expectDead(fixture)
    }

    @Test func class28_resetThatWaits_leavesTheDevicesLockToOthers() throws {
        let fixture = try VhostUserFixture { _, message in
            message.request == VhostUserRequest.getRingBase.rawValue ? .late(milliseconds: 500) : .normal
        }
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        let transport = fixture.guest.transport
        let turns = Atomic<Int>(0)
        let isDone = Atomic<Bool>(false)
        let loop = try OSThread.start(name: "loop") {
            while !isDone.load(ordering: .acquiring) {
                _ = transport.statistics
                turns.add(1, ordering: .relaxed)
                Clock.sleep(nanoseconds: 500_000)
            }
        }
        let before = turns.load(ordering: .relaxed)
        fixture.guest.write(.status, 0)
        let during = turns.load(ordering: .relaxed) - before
        isDone.store(true, ordering: .releasing)
        loop.join()
        // Two rings, half a second each. With the lock held there would be a turn before the reset and one between the rings.
        #expect(during > 10)
        // It was late, not dead.
        #expect(try fixture.guest.start(queues: [0, 1]))
        #expect(!fixture.guest.run(milliseconds: 20) { fixture.guest.status.contains(.needsReset) })
    }

    @Test func lateAcknowledgements_holdNobodyUp() throws {
        let fixture = try VhostUserFixture { index, _ in index >= Self.handshakeCount ? .late(milliseconds: 150) : .normal }
        defer { fixture.backEnd.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        // The device runs while the back end is still at the first of 16 messages.
        #expect(fixture.backEnd.messages.count < Self.handshakeCount + 16)
        // The reset comes while most of them are still due.
        fixture.guest.write(.status, 0)
        #expect(fixture.messages(of: .getRingBase).count == 2)
        #expect(try fixture.guest.start(queues: [0, 1]))
    }

    @Test func class11_queueTakenBack_isWaitedForAShortTimeOnce() throws {
        let fixture = try VhostUserFixture(limits: .init(start: 2_000_000_000, reset: 2_000_000_000, stop: 100_000_000)) { _, message in
            message.request == VhostUserRequest.getRingBase.rawValue ? .silent : .normal
        }
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        let start = Clock.monotonicNanoseconds()
        for index in [0, 1] as [UInt32] {
            fixture.guest.write(.queueSelect, index)
            fixture.guest.write(.queueReady, 0)
        }
        let taken = Clock.monotonicNanoseconds() - start
        #expect(taken >= 100_000_000 && taken < 5_000_000_000)
        #expect(fixture.failsSoon())
        fixture.guest.write(.status, 0)
    }

    @Test func class11_queueTakenBack_isTheGuestsAgain() throws {
        let fixture = try VhostUserFixture()
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        fixture.guest.write(.queueSelect, 1)
        fixture.guest.write(.queueReady, 0)
        #expect(fixture.messages(of: .getRingBase).map { $0.word(0) } == [1])
        fixture.guest.write(.status, 0)
        // Only what is still running is stopped.
        #expect(fixture.messages(of: .getRingBase).map { $0.word(0) } == [1, 0])
        #expect(try fixture.guest.start(queues: [0, 1]))
    }

    // MARK: Shared eventfds

    /// A descriptor that was sent has the same open file at both ends, and so the same O_NONBLOCK.
    @Test(.timeLimit(.minutes(1))) func backEndThatMakesSharedEventsBlocking_holdsNobodyUp() throws {
        let fixture = try VhostUserFixture(hasEvent: false)
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        #expect(fixture.backEnd.waitFor(.setRingEnable, count: 2))
        let kicks = [try #require(fixture.backEnd.kick(0)), try #require(fixture.backEnd.kick(1))]
        for kick in kicks {
            var count = [UInt8](repeating: 0, count: 8)
            _ = Glibc.read(kick, &count, 8)
            _ = fcntl(kick, F_SETFL, 0)
            // Full: the next one who adds to it waits.
            try OwnedFDBorrow.write(kick, [0xfe] + [UInt8](repeating: 0xff, count: 7))
        }
        // Empty: the next one who reads waits.
        for event in [try #require(fixture.backEnd.call(0)), try #require(fixture.backEnd.errorEvent(0))] { _ = fcntl(event, F_SETFL, 0) }
        fixture.guest.serveSources()
        for _ in 0..<3 {
            fixture.guest.write(.status, 0)
            for index in 0..<2 { fixture.guest.transport.serveQueue(index) }
            for kick in kicks { try OwnedFDBorrow.write(kick, [0xfe] + [UInt8](repeating: 0xff, count: 7)) }
            #expect(try fixture.guest.start(queues: [0, 1]))
            fixture.guest.transport.drain()
            fixture.guest.serveSources()
            // To be full again after the reset.
            var count = [UInt8](repeating: 0, count: 8)
            for kick in kicks { _ = Glibc.read(kick, &count, 8) }
        }
        fixture.guest.write(.status, 0)
    }

    @Test(.timeLimit(.minutes(1))) func backEndThatInterruptsWithoutEnd_leavesTheLoopToOthers() throws {
        let fixture = try VhostUserFixture(hasEvent: false)
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        #expect(fixture.backEnd.waitFor(.setRingEnable, count: 2))
        let call = try #require(fixture.backEnd.call(0))
        let isDone = Atomic<Bool>(false)
        let flood = try OSThread.start(name: "flood") {
            var one: UInt64 = 1
            while !isDone.load(ordering: .relaxed) { _ = Glibc.write(call, &one, 8) }
        }
        // Each turn of the loop ends.
        for _ in 0..<1000 { fixture.guest.serveSources() }
        isDone.store(true, ordering: .relaxed)
        flood.join()
        #expect(fixture.guest.status.isLive)
    }

    // MARK: Anything

    @Test(.timeLimit(.minutes(1)), arguments: 0..<60 as Range<UInt64>) func randomBackEnd_neverCostsMoreThanTheDevice(seed: UInt64) throws {
        let generator = Mutex(SeededGenerator(seed: seed))
        let script: FakeBackEnd.Script = { _, message in
            generator.withLock { random in
                switch Int.random(in: 0..<30, using: &random) {
                case 0: .hangUp
                case 1: .silent
                case 2: .flood
                case 3: .answerPartAndHangUp(Int.random(in: 0...20, using: &random))
                case 4: .send((0..<Int.random(in: 1...64, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
                case 5: .send([UInt8](repeating: 0, count: 20), descriptors: Int.random(in: 1...9, using: &random))
                case 6:
                    // Nearly right.
                    .send(
                        [message.request, 5, 8, UInt32.random(in: 0...1, using: &random), UInt32.random(in: 0...1, using: &random)]
                            .flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) } })
                case 7: .late(milliseconds: Int.random(in: 0...20, using: &random))
                default: .normal
                }
            }
        }
        let fixture: VhostUserFixture
        do { fixture = try VhostUserFixture(limits: Self.impatient, script) } catch is VhostUserError { return }
        defer { fixture.backEnd.stop() }
        for _ in 0..<3 {
            try fixture.guest.start(queues: [0, 1])
            for _ in 0..<5 {
                fixture.guest.serveSources()
                fixture.guest.transport.serveResetRequest()
                Clock.sleep(nanoseconds: 500_000)
            }
            fixture.guest.write(.status, 0)
            #expect(fixture.guest.status.rawValue == 0)
        }
    }

    /// The connection is given up: nothing more is watched, the guest may reset, and every later start says at once that the device needs a reset.
    private func expectDead(_ fixture: VhostUserFixture, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let guest = fixture.guest
        guest.write(.status, 0)
        #expect(guest.status.rawValue == 0, sourceLocation: sourceLocation)
        guest.serveSources()
        // A hung-up socket stays readable: it must not be watched any more, or the event loop never sleeps again.
        let source = guest.transport.state.withLock { $0.device.eventSources[0] }
        var poll = pollfd(fd: source, events: Int16(POLLIN), revents: 0)
        #expect(Glibc.poll(&poll, 1, 0) == 0, sourceLocation: sourceLocation)
        try guest.start(queues: [0, 1])
        guest.transport.serveResetRequest()
        #expect(guest.status.contains(.needsReset), sourceLocation: sourceLocation)
        guest.write(.status, 0)
    }
}

@Suite struct HostileVhostUserGuestTests {
    @Test func class14_zeroQueuesOrOne_startOnlyThose() throws {
        let none = try VhostUserFixture()
        defer { none.backEnd.stop() }
        #expect(try none.guest.start(queues: []))
        none.guest.write(.status, 0)
        #expect(none.backEnd.requests.count == 5)
        for queue in 0..<2 {
            let fixture = try VhostUserFixture()
            defer { fixture.backEnd.stop() }
            #expect(try fixture.guest.start(queues: [queue]))
            fixture.guest.write(.status, 0)
            #expect(fixture.messages(of: .setKick).map { $0.long(0) } == [UInt64(queue)])
            #expect(fixture.messages(of: .getRingBase).map { $0.word(0) } == [UInt32(queue)])
        }
    }

    @Test func class22_badRings_neverReachTheBackEnd() throws {
        let end = DeviceGuest.ramSize / 2
        for (descriptors, available, used) in [
            (0xffff_ffff_ffff_fff0, 0x4000, 0x8000), (0x1_0000, end - 2, 0x8000), (0x1_0000, 0x4000, end - 4), (0x1_0001, 0x4000, 0x8000),
            (end, 0x4000, 0x8000), ((1 << 32) - 16, 0x4000, 0x8000),
        ] as [(UInt64, UInt64, UInt64)] {
            let fixture = try VhostUserFixture()
            defer { fixture.backEnd.stop() }
            fixture.guest.negotiate()
            try fixture.guest.setUp(0, QueueConfiguration(size: 16, descriptorTable: descriptors, availableRing: available, usedRing: used))
            try fixture.guest.setUp(1)
            fixture.guest.write(.status, 15)
            #expect(fixture.guest.status.contains(.needsReset))
            fixture.guest.write(.status, 0)
            #expect(fixture.backEnd.requests.count == 5)
        }
    }

    @Test func class1_activationTwice_isOne() throws {
        let fixture = try VhostUserFixture()
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        for _ in 0..<10 { fixture.guest.write(.status, 15) }
        fixture.guest.write(.status, 0)
        #expect(fixture.messages(of: .setMemoryTable).count == 1)
    }

    @Test func class19_startsAndResetsInALoop_fillNothing() throws {
        let fixture = try VhostUserFixture()
        defer { fixture.backEnd.stop() }
        for _ in 0..<200 { try fixture.guest.start(queues: [0, 1]) }
        fixture.guest.write(.status, 0)
        #expect(fixture.messages(of: .getRingBase).count == 400)
        #expect(fixture.guest.transport.statistics.resetsRequested == 0)
    }

    @Test func memoryThatIsNotShared_costsTheDeviceOnly() throws {
        let fixture = try VhostUserFixture(isShared: false)
        defer { fixture.backEnd.stop() }
        try fixture.guest.start(queues: [0, 1])
        fixture.guest.transport.serveResetRequest()
        #expect(fixture.guest.status.contains(.needsReset))
        #expect(fixture.backEnd.requests.count == 5)
    }
}
