import AddressSpace
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// A disk of a vhost-user back end, and the back ends that come one after the other.
final class BlockBackEnds: Sendable {
    /// What a back end is like.
    struct Kind: Sendable {
        var features = BlockBackEnds.features
        var protocolFeatures: UInt64 = BlockBackEnds.protocolFeatures
        var queueCount: UInt64 = 2
        var configuration = BlockBackEnds.configuration(capacity: 2048)
        var script: FakeBackEnd.Script = { _, _ in .normal }
    }

    static let features =
        FakeBackEnd.features | BlockFeature.sizeMaximum | BlockFeature.segmentMaximum | BlockFeature.flush | BlockFeature.multiqueue
        | BlockFeature.topology | 1 << 11
    /// MQ, REPLY_ACK, BACKEND_REQ, CONFIG.
    static let protocolFeatures: UInt64 = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 9
    static let tracking = protocolFeatures | 1 << 12
    /// One that takes time for nothing, and no test for long.
    static let limits = VhostUser.Limits(
        start: 20_000_000_000, reset: 20_000_000_000, stop: 5_000_000_000, redial: 1_000_000...20_000_000)

    static func configuration(capacity: UInt64, sizeMaximum: UInt32 = 0, segments: UInt32 = 126, queues: UInt16 = 9) -> [UInt8] {
        var space = ConfigurationSpace(size: 60)
        space.put(capacity, at: 0)
        space.put(sizeMaximum, at: 8)
        space.put(segments, at: 12)
        space.put(UInt32(512), at: 20)
        space.put(queues, at: 34)
        return (0..<60).map { UInt8(space.read(offset: $0, size: 1)) }
    }

    private struct State {
        /// Who answers the next calls; nobody: the socket is not there.
        var waiting: [Kind] = []
        var all: [FakeBackEnd] = []
        var dials = 0
    }
    private let state = Mutex(State())

    var dials: Int { state.withLock { $0.dials } }
    var all: [FakeBackEnd] { state.withLock { $0.all } }
    var last: FakeBackEnd? { all.last }

    func await(_ kind: Kind) { state.withLock { $0.waiting.append(kind) } }

    func dial() throws(VhostUserError) -> VhostUserConnection {
        let kind: Kind? = state.withLock { state in
            state.dials += 1
            return state.waiting.isEmpty ? nil : state.waiting.removeFirst()
        }
        guard let kind,
            let started = try? FakeBackEnd.start(
                features: kind.features, protocolFeatures: kind.protocolFeatures, queueCount: kind.queueCount, configuration: kind.configuration,
                kind.script)
        else { throw .connect(path: "socket", .connectionRefused) }
        state.withLock { $0.all.append(started.0) }
        return VhostUserConnection(OwnedFD(adopting: started.1))
    }

    func stop() { for backEnd in all { backEnd.stop() } }
}

/// A guest with that disk.
struct BlockBackEndFixture {
    let backEnds: BlockBackEnds
    let guest: DeviceGuest

    init(
        _ kind: BlockBackEnds.Kind = .init(), queues: Int? = 2, queueSize: UInt16 = 16, limits: VhostUser.Limits = BlockBackEnds.limits
    ) throws {
        var attempt = 0
        while true {
            attempt += 1
            let backEnds = BlockBackEnds()
            backEnds.await(kind)
            do {
                let device = try Self.device(backEnds, queues: queues, queueSize: queueSize, limits: limits)
                guest = try DeviceGuest(device: device, on: DeviceGuest.memory())
                self.backEnds = backEnds
                return
            } catch VhostUserError.silent where attempt < 20 {
                // A test's limit is short for what never answers; a back end that does may need longer on a busy machine.
                backEnds.stop()
            } catch {
                backEnds.stop()
                throw error
            }
        }
    }

    static func device(
        _ backEnds: BlockBackEnds, queues: Int? = 2, queueSize: UInt16 = 16, limits: VhostUser.Limits = BlockBackEnds.limits
    ) throws(VhostUserError) -> sending VhostUserBlock {
        let options = VhostUserBlock.Options(chardev: "c", path: "socket", queues: queues, defaultQueues: 4, queueSize: queueSize)
        return try VhostUserBlock(try backEnds.dial(), options, limits: limits) { () throws(VhostUserError) in try backEnds.dial() }
    }

    /// Of the back end that is there now.
    var backEnd: FakeBackEnd { get throws { try #require(backEnds.last) } }

    func messages(of request: VhostUserRequest) -> [FakeBackEnd.Message] {
        backEnds.last?.messages.filter { $0.request == request.rawValue } ?? []
    }

    /// Ends the back end, and waits until the device knows.
    func kill() throws {
        let count = backEnds.dials
        try backEnd.stop()
        #expect(guest.run(milliseconds: 10_000) { backEnds.dials > count })
    }

    /// Lets a back end answer, and waits until it has all rings.
    func revive(_ kind: BlockBackEnds.Kind = .init(), rings: Int = 2) throws {
        let count = backEnds.all.count
        backEnds.await(kind)
        #expect(guest.run(milliseconds: 10_000) { backEnds.all.count > count && messages(of: .setRingEnable).count >= rings })
    }

    func peer(_ ring: UInt32) throws -> RelayPeer {
        try #require(try RelayPeer.wait(backEnd, ring: ring) { guest.serveSources() })
    }

    /// Queues one-descriptor chains.
    func queue(_ heads: [UInt16], _ ring: Int = 0) throws {
        for head in heads { try guest.offer(ring, [.writable(0x10_0000 + 512 * UInt64(head), 512)], first: head) }
        guest.kick(ring)
        guest.transport.serveQueue(ring)
    }

    /// What the guest gets back within a time that is long enough.
    func used(_ count: Int, _ ring: Int = 0) throws -> [UInt32] {
        var entries: [UInt32] = []
        try guest.run(milliseconds: 10_000) {
            entries += try guest.newUsed(ring).map(\.id)
            return entries.count >= count
        }
        return entries
    }

    var needsReset: Bool {
        guest.transport.serveResetRequest()
        return guest.status.contains(.needsReset)
    }
}
