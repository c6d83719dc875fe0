internal import AddressSpace
internal import LinuxSys

/// The front end of the vhost-user protocol (QEMU, docs/interop/vhost-user.rst): another program serves a device's queues in shared guest memory. A
/// device owns one and passes on what its transport calls; all of it runs under the device's lock.
///
/// Only `init` waits for answers, a few seconds at most. Afterwards requests go out without waiting, and what comes back (acknowledgements, a hang-up) is an
/// event of the loop. A reset has to know that the back end has let go of the rings: the vCPU that resets the device asks again and again without the
/// lock (`prepareReset`), until the back end has answered or has lost its patience. A back end that breaks the rules or hangs up costs the guest its
/// device, which says DEVICE_NEEDS_RESET, and nothing else.
final class VhostUser {
    /// How long the back end may take, nanoseconds.
    struct Limits {
        /// For all answers at start.
        var start: UInt64 = 3_000_000_000
        /// To end what is in flight at a reset. The disk behind it may be slow; only the vCPU waits.
        var reset: UInt64 = 5_000_000_000
        /// The same where the device's lock is held meanwhile, which may hold up the event loop. Once: then the back end is given up.
        var stop: UInt64 = 500_000_000
    }

    /// VHOST_USER_F_PROTOCOL_FEATURES: rings start disabled, and the protocol has features of its own.
    private static let protocolFeatures: UInt64 = 1 << 30
    /// VHOST_USER_PROTOCOL_F_MQ: the back end tells how many queues it has.
    private static let multiQueue: UInt64 = 1 << 0
    /// VHOST_USER_PROTOCOL_F_REPLY_ACK: requests can be acknowledged.
    private static let replyAcknowledge: UInt64 = 1 << 3

    private struct Session {
        let control: SessionControl
        let interrupt: VirtioInterrupt
        /// Rings that the back end may touch.
        var rings: [UInt32]
        /// When the back end has had time enough to stop; nil until it was asked.
        var deadline: UInt64?
    }

    /// What the back end offers. Mask it before it is offered to a guest.
    let features: UInt64
    /// For messages: the option at fault.
    private let name: String
    private let limits: Limits
    private let hasProtocolFeatures: Bool
    private let gate: EventGate
    /// The back end signals used buffers here where the interrupt line has no eventfd of its own.
    private let callEvent: EventFD
    /// The back end signals here when a ring makes no sense. Never read: once is enough.
    private let errorEvent: EventFD
    /// Nil after a failure.
    private var connection: VhostUserConnection?
    private var session: Session?
    private var hasLogged = false

    /// The only descriptor to be watched.
    var eventSource: Int32 { gate.raw }

    /// Talks to the back end until it is known what it can do. `queueCount`: how many queues the device has.
    init(_ connection: VhostUserConnection, name: String, queueCount: Int, limits: Limits = Limits()) throws(VhostUserError) {
        let deadline = Clock.monotonicNanoseconds() &+ limits.start
        features = try connection.ask(.getFeatures, until: deadline)
        guard features & VirtioFeature.version1 != 0 else { throw .tooOld }
        try connection.send(VhostUserMessage(.setOwner))
        hasProtocolFeatures = features & Self.protocolFeatures != 0
        if hasProtocolFeatures {
            let known = try connection.ask(.getProtocolFeatures, until: deadline) & (Self.multiQueue | Self.replyAcknowledge)
            try connection.send(VhostUserMessage(.setProtocolFeatures, known))
            if known & Self.multiQueue != 0 {
                let count = try connection.ask(.getQueueCount, until: deadline)
                guard count >= UInt64(queueCount) else { throw .tooFewQueues(offered: count, needed: queueCount) }
            }
            connection.acknowledges = known & Self.replyAcknowledge != 0
        }
        do throws(Errno) {
            gate = try EventGate()
            callEvent = try EventFD()
            errorEvent = try EventFD()
            try gate.add(connection.raw)
            try gate.add(callEvent.raw)
        } catch {
            throw .socket(error)
        }
        self.name = name
        self.limits = limits
        self.connection = connection
    }

    // MARK: Session

    /// The driver is ready: hands every queue over that it has set up.
    func activate(_ driver: VirtioSession) {
        reset()
        let rings = driver.configurations.enumerated().compactMap { index, configuration in configuration.map { (UInt32(index), $0) } }
        guard !rings.isEmpty else { return }
        guard let connection else { return driver.requestReset(.hostFailure(.brokenPipe)) }
        let pieces: [RAMMapping]
        do throws(VhostUserError) { pieces = try VhostUserMemory.pieces(driver.memory) } catch {
            // Not the back end's fault. A guest that tries again and again must not fill the log.
            if !hasLogged { Log.error("\(name): \(error)") }
            hasLogged = true
            return driver.requestReset(.hostFailure(error.errno))
        }
        session = Session(control: driver.control, interrupt: driver.interrupt, rings: rings.map(\.0))
        for (index, _) in rings { driver.handOver(Int(index)) }
        do throws(VhostUserError) {
            do throws(Errno) { try gate.add(errorEvent.raw) } catch { throw .socket(error) }
            try start(rings, pieces, driver, connection)
        } catch {
            fail(error)
            return driver.requestReset(.hostFailure(error.errno))
        }
    }

    private func start(
        _ rings: [(UInt32, QueueConfiguration)], _ pieces: [RAMMapping], _ driver: VirtioSession, _ connection: VhostUserConnection
    ) throws(VhostUserError) {
        let call = driver.interrupt.delegateUsedBuffers() ?? callEvent.raw
        try connection.send(VhostUserMessage(.setFeatures, driver.features & features | (hasProtocolFeatures ? Self.protocolFeatures : 0)))
        try connection.send(VhostUserMemory.table(pieces))
        for (index, configuration) in rings {
            // As in `VhostKernel`: whoever serves the ring trusts these numbers.
            do throws(QueueFault) { _ = try VhostRing(configuration, memory: driver.memory) } catch { throw .brokenRing }
            try connection.send(VhostUserMessage(.setRingSize, ring: index, configuration.size))
            try connection.send(VhostUserMessage(.setRingBase, ring: index, 0))
            try connection.send(VhostUserMemory.ring(index, configuration))
            try connection.send(VhostUserMessage(.setError, UInt64(index), descriptors: [errorEvent.raw]))
            try connection.send(VhostUserMessage(.setCall, UInt64(index), descriptors: [call]))
            // The back end begins with this one.
            try connection.send(VhostUserMessage(.setKick, UInt64(index), descriptors: [driver.notifications[Int(index)].raw]))
        }
        if hasProtocolFeatures {
            for (index, _) in rings { try connection.send(VhostUserMessage(.setRingEnable, ring: index, 1)) }
        }
    }

    /// True when the back end has let go of all rings, or is lost.
    func prepareReset() -> Bool {
        guard let connection, let running = session else { return true }
        do throws(VhostUserError) {
            if running.deadline == nil {
                session?.deadline = Clock.monotonicNanoseconds() &+ limits.reset
                for ring in running.rings { try connection.send(VhostUserMessage(.getRingBase, ring: ring, 0), ring: ring) }
            }
            try connection.receive()
            if connection.owesNothing { return true }
            if let deadline = running.deadline, Clock.monotonicNanoseconds() >= deadline { throw VhostUserError.silent }
            return false
        } catch {
            fail(error)
            return true
        }
    }

    /// Ends the session. What `prepareReset` has not waited for is waited for here, for a short time.
    func reset() {
        if session != nil, !prepareReset(), let connection {
            do throws(VhostUserError) { try connection.wait(until: Clock.monotonicNanoseconds() &+ limits.stop) } catch { fail(error) }
        }
        session = nil
        gate.remove(errorEvent.raw)
        errorEvent.drain()
        callEvent.drain()
    }

    /// The driver takes one ring back.
    func stopQueue(_ index: Int) {
        guard let connection, let ring = session?.rings.first(where: { $0 == UInt32(clamping: index) }) else { return }
        session?.rings.removeAll { $0 == ring }
        do throws(VhostUserError) {
            try connection.send(VhostUserMessage(.getRingBase, ring: ring, 0), ring: ring)
            try connection.wait(until: Clock.monotonicNanoseconds() &+ limits.stop)
        } catch {
            fail(error)
            session?.control.requestReset(.hostFailure(error.errno))
        }
    }

    // MARK: Events

    /// `eventSource` is readable.
    func eventSourceReady() -> ServiceResult {
        // At most one turn for each descriptor: the loop has others.
        for _ in 0..<3 {
            guard let ready = gate.next() else { break }
            if ready == callEvent.raw {
                callEvent.drain()
                session?.interrupt.raise(VirtioInterrupt.usedBuffer)
                continue
            }
            guard let connection else { break }
            do throws(VhostUserError) {
                if ready == errorEvent.raw { throw VhostUserError.brokenRing }
                try connection.receive()
            } catch {
                fail(error)
                return session == nil ? .idle : .fault(.needsReset(.hostFailure(error.errno)))
            }
        }
        return .idle
    }

    /// Gives the back end up. Said once: there is no way back.
    private func fail(_ error: VhostUserError) {
        guard let connection else { return }
        Log.error("\(name): \(error)")
        gate.remove(connection.raw)
        gate.remove(errorEvent.raw)
        self.connection = nil
    }
}
