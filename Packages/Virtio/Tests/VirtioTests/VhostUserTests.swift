import AddressSpace
import HypervisorTesting
import Glibc
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// A file system device over a fake back end.
struct VhostUserFixture {
    static let limits = VhostUser.Limits(start: 20_000_000_000, reset: 20_000_000_000, stop: 5_000_000_000)
    let backEnd: FakeBackEnd
    let guest: DeviceGuest

    init(
        features: UInt64 = FakeBackEnd.features, protocolFeatures: UInt64 = FakeBackEnd.protocolFeatures, isShared: Bool = true, hasEvent: Bool = true,
        limits: VhostUser.Limits = VhostUserFixture.limits, _ script: @escaping FakeBackEnd.Script = { _, _ in .normal }
    ) throws {
        let (backEnd, socket) = try FakeBackEnd.start(features: features, protocolFeatures: protocolFeatures, script)
        self.backEnd = backEnd
        do {
            let file = OwnedFD(adopting: socket)
            let device = try VhostUserFileSystem(VhostUserConnection(file), tag: "share", numRequestQueues: 1, limits: limits)
            guest = try DeviceGuest(device: device, on: DeviceGuest.memory(isShared: isShared), hasEvent: hasEvent)
        } catch {
            backEnd.stop()
            throw error
        }
    }

    /// Of the messages after the handshake.
    func messages(of request: VhostUserRequest) -> [FakeBackEnd.Message] { backEnd.messages.filter { $0.request == request.rawValue } }

    /// Lets the event loop run until the device asks for a reset.
    func failsSoon() -> Bool {
        guest.run(milliseconds: 10_000) {
            guest.transport.serveResetRequest()
            return guest.status.contains(.needsReset)
        }
    }
}

@Suite struct VhostUserTests {
    @Test func identity_isAFileSystemWithTagAndQueues() throws {
        let fixture = try VhostUserFixture()
        defer { fixture.backEnd.stop() }
        let guest = fixture.guest
        #expect(guest.read(.deviceID) == 26)
        #expect(guest.offeredFeatures == VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex)
        let tag = (0..<36).map { UInt8(guest.config(UInt64($0), 1)) }
        let wanted = Array("share".utf8) + [UInt8](repeating: 0, count: 31)
        #expect(tag == wanted)
        #expect(guest.config(36, 4) == 1)
        #expect(guest.config(0, 8) == 0x0000_0065_7261_6873)
        #expect(guest.config(40, 4) == 0)
        #expect(guest.config(38, 8) == 0)
        guest.transport.write(offset: MMIORegister.config, size: 4, value: 0)
        #expect(guest.config(0, 4) == 0x7261_6873)
        guest.write(.queueSelect, 1)
        #expect(guest.read(.queueSizeMaximum) == 128)
        guest.write(.queueSelect, 2)
        #expect(guest.read(.queueSizeMaximum) == 0)
    }

    @Test func session_sendsMemoryAndRingsInTheProtocolsOrder() throws {
        let fixture = try VhostUserFixture()
        defer { fixture.backEnd.stop() }
        let guest = fixture.guest
        #expect(fixture.backEnd.requests == [1, 3, 15, 16, 17])
        #expect(fixture.messages(of: .setProtocolFeatures).first?.long(0) == 1 << 0 | 1 << 3)
        #expect(try guest.start(queues: [0, 1]))
        #expect(fixture.backEnd.waitFor(.setRingEnable, count: 2))
        #expect(Array(fixture.backEnd.requests.dropFirst(5)) == [2, 5, 8, 10, 9, 14, 13, 12, 8, 10, 9, 14, 13, 12, 18, 18])
        #expect(fixture.messages(of: .setFeatures).first?.long(0) == guest.offeredFeatures | 1 << 30)
        // Two pieces of one file; where they are in this process is nowhere to be read.
        let table = try #require(fixture.messages(of: .setMemoryTable).first)
        #expect(table.descriptorCount == 2)
        #expect(table.word(0) == 2)
        let half = DeviceGuest.ramSize / 2
        let user: UInt64 = 1 << 52
        let high: UInt64 = 1 << 32
        let pieces = (0..<8).map { table.long(8 + 8 * $0) }
        #expect(pieces == [0, half, user, 0, high, half, user + high, half])
        for index in 0..<2 {
            let place = guest.place(index)
            let ring = fixture.messages(of: .setRingAddresses)[index]
            #expect(ring.word(0) == UInt32(index) && ring.word(4) == 0)
            #expect(ring.long(8) == place.descriptorTable + user)
            #expect(ring.long(16) == place.usedRing + user)
            #expect(ring.long(24) == place.availableRing + user)
            #expect(fixture.messages(of: .setRingSize)[index].payload == [UInt8(index), 0, 0, 0, 16, 0, 0, 0])
            #expect(fixture.messages(of: .setRingBase)[index].payload == [UInt8(index), 0, 0, 0, 0, 0, 0, 0])
            #expect(fixture.messages(of: .setKick)[index].long(0) == UInt64(index))
            #expect(fixture.messages(of: .setKick)[index].descriptorCount == 1)
        }
        // The eventfds work: the guest's kick arrives, and the back end interrupts.
        let kick = try #require(fixture.backEnd.kick(1))
        guest.transport.notifications[1].drain()
        guest.kick(1)
        var count = [UInt8](repeating: 0, count: 8)
        #expect(Glibc.read(kick, &count, 8) == 8)
        try OwnedFDBorrow.write(try #require(fixture.backEnd.call(1)), [1, 0, 0, 0, 0, 0, 0, 0])
        #expect(guest.line.takeEvents() == 1)
        guest.run(milliseconds: 20) { false }
        #expect(guest.status.isLive)
    }

    @Test func reset_stopsEveryRingAndTheDeviceStartsAgain() throws {
        let fixture = try VhostUserFixture()
        defer { fixture.backEnd.stop() }
        for round in 1...10 {
            #expect(try fixture.guest.start(queues: [0, 1]))
            fixture.guest.write(.status, 0)
            #expect(fixture.messages(of: .getRingBase).map { $0.word(0) } == (0..<round).flatMap { _ in [0, 1] })
        }
        #expect(try fixture.guest.start(queues: [0, 1]))
        #expect(!fixture.guest.run(milliseconds: 20) { fixture.guest.status.contains(.needsReset) })
    }

    @Test func oldBackEnd_isServedWithoutTheProtocolsExtensions() throws {
        let fixture = try VhostUserFixture(features: VirtioFeature.version1)
        defer { fixture.backEnd.stop() }
        #expect(fixture.backEnd.waitFor(.setOwner))
        #expect(fixture.backEnd.requests == [1, 3])
        #expect(try fixture.guest.start(queues: [0, 1]))
        #expect(fixture.backEnd.waitFor(.setKick, count: 2))
        #expect(fixture.messages(of: .setRingEnable) == [])
        #expect(fixture.messages(of: .setFeatures).first?.long(0) == VirtioFeature.version1)
        #expect(fixture.backEnd.messages.allSatisfy { !$0.needsReply })
        fixture.guest.write(.status, 0)
        #expect(fixture.messages(of: .getRingBase).count == 2)
    }

    @Test func lineWithoutAnEvent_isRaisedByTheDevice() throws {
        let fixture = try VhostUserFixture(hasEvent: false)
        defer { fixture.backEnd.stop() }
        #expect(try fixture.guest.start(queues: [0, 1]))
        #expect(fixture.backEnd.waitFor(.setRingEnable, count: 2))
        try OwnedFDBorrow.write(try #require(fixture.backEnd.call(1)), [1, 0, 0, 0, 0, 0, 0, 0])
        #expect(fixture.guest.run(milliseconds: 10_000) { fixture.guest.line.pulses == 1 })
    }

    // MARK: Limits and messages

    private func message(_ body: () throws -> Void) -> String {
        do { try body() } catch { return "\(error)" }
        return "no error"
    }

    @Test func tagLimits_sayTheLimit() throws {
        let memory = try DeviceGuest.memory().0.memory
        for tag in ["", String(repeating: "x", count: 37), "a\0b", String(repeating: "\u{e9}", count: 19)] {
            #expect(message { _ = try VhostUserFileSystem.connect(path: "/nonexistent", tag: tag, memory: memory) }
                == "-device vhost-user-fs-device,tag=\(tag): the tag must have 1 to 36 bytes")
        }
        for count in [0, -1, 65] {
            #expect(message { _ = try VhostUserFileSystem.connect(path: "/nonexistent", tag: "t", numRequestQueues: count, memory: memory) }
                == "-device vhost-user-fs-device,tag=t: \(count) request queues are not possible, 1 to 64 are")
        }
    }

    @Test func longestTag_fillsTheField() throws {
        let (backEnd, socket) = try FakeBackEnd.start()
        defer { backEnd.stop() }
        let tag = String(repeating: "x", count: 36)
        let device = try VhostUserFileSystem(VhostUserConnection(OwnedFD(adopting: socket)), tag: tag, numRequestQueues: 1)
        #expect((0..<36).allSatisfy { device.readConfig(offset: $0, size: 1) == 0x78 })
        #expect(device.readConfig(offset: 36, size: 4) == 1)
    }

    @Test func privateMemory_namesTheOptionToAdd() throws {
        let memory = try DeviceGuest.memory(isShared: false).0.memory
        #expect(message { _ = try VhostUserFileSystem.connect(path: "/nonexistent", tag: "t", memory: memory) }
            == "-device vhost-user-fs-device,tag=t: a vhost-user device needs shared guest memory: add mem-share=on to -machine")
    }

    @Test func missingSocket_isTriedForASecondAndNamed() throws {
        let memory = try DeviceGuest.memory().0.memory
        let start = Clock.monotonicNanoseconds()
        #expect(message { _ = try VhostUserFileSystem.connect(path: "/nonexistent/socket", tag: "t", memory: memory) }
            == "-device vhost-user-fs-device,tag=t: cannot connect to '/nonexistent/socket': No such file or directory")
        let taken = Clock.monotonicNanoseconds() - start
        #expect(taken >= 900_000_000 && taken < 10_000_000_000)
        // What will not come by itself is not waited for.
        let again = Clock.monotonicNanoseconds()
        #expect(message { _ = try VhostUserConnection.connect(path: "/" + String(repeating: "x", count: 200), patience: 60_000_000_000) }
            .hasSuffix("File name too long"))
        #expect(Clock.monotonicNanoseconds() - again < 30_000_000_000)
    }

    @Test func socketThatComesLater_isFound() throws {
        let path = "/tmp/vhost-user-\(getpid())-late"
        defer { try? SysFile.remove(path) }
        let thread = try OSThread.start(name: "late") {
            Clock.sleep(nanoseconds: 200_000_000)
            guard let listener = try? StreamSocket.listen(path: path) else { return }
            _ = try? listener.wait(for: .readable, nanoseconds: 20_000_000_000)
        }
        _ = try VhostUserConnection.connect(path: path, patience: 20_000_000_000)
        thread.join()
    }

    @Test func backEndWithTooFewQueues_isRefused() throws {
        let (backEnd, socket) = try FakeBackEnd.start(queueCount: 1)
        defer { backEnd.stop() }
        #expect(throws: VhostUserError.tooFewQueues(offered: 1, needed: 2)) {
            _ = try VhostUserFileSystem(VhostUserConnection(OwnedFD(adopting: socket)), tag: "t", numRequestQueues: 1)
        }
    }

    @Test func legacyBackEnd_isRefused() throws {
        let (backEnd, socket) = try FakeBackEnd.start(features: 1 << 30)
        defer { backEnd.stop() }
        #expect(throws: VhostUserError.tooOld) {
            _ = try VhostUserFileSystem(VhostUserConnection(OwnedFD(adopting: socket)), tag: "t", numRequestQueues: 1)
        }
    }

    @Test func moreMemoryPiecesThanAMessageHolds_areRefused() throws {
        let space = AddressSpace(name: "memory", size: 1 << 40)
        let ram = try HostMemory.anonymous(size: 1 << 20, options: .shared)
        for index in 0..<9 {
            try space.root.add(
                try Region.ram(name: "\(index)", size: 0x1000, memory: ram, memoryOffset: UInt64(index) * 0x1000), at: UInt64(index) * 0x10000)
        }
        #expect(throws: VhostUserError.tooManyMemoryPieces(9)) { _ = try VhostUserMemory.pieces(space.memory) }
    }
}
