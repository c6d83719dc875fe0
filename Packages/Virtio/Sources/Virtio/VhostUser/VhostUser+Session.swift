internal import AddressSpace
internal import CVhostUser
internal import LinuxSys

/// From the driver's DRIVER_OK to its reset, whatever back ends come and go meanwhile.
struct VhostUserSession {
    let driver: VirtioSession
    /// The device's queues that a back end serves, as far as the driver has set them up.
    var rings: [(index: UInt32, configuration: QueueConfiguration)]
    /// Pieces of guest memory, all of them shared.
    let pieces: [RAMMapping]
    /// Rings that the back end may touch.
    var started: [UInt32] = []
    /// When the back end has had time enough to stop; nil until it was asked.
    var deadline: UInt64?
    /// Decided at the first start: one for each ring, or none.
    var relays: [VhostUserRelay] = []
    /// What the relays' back end maps.
    var relayRings: VhostUserRings?
    var inflight: VhostUserInflight?
    /// A back end has served the rings: the next one goes on where it was.
    var hasBegun = false
    /// The driver has just come: what it has queued is notified once it is told that it may go on.
    var isFresh = true
}

extension VhostUser {
    /// The driver is ready: hands the first `count` of its queues over, as far as it has set them up.
    func activate(_ driver: VirtioSession, count: Int = .max) {
        reset()
        let rings = driver.configurations.prefix(count).enumerated().compactMap { index, configuration in
            configuration.map { (index: UInt32(index), configuration: $0) }
        }
        guard !rings.isEmpty else { return }
        guard connection != nil || redial != nil else { return driver.requestReset(.hostFailure(.brokenPipe)) }
        do throws(VhostUserError) {
            let pieces = try VhostUserMemory.pieces(driver.memory)
            session = VhostUserSession(driver: driver, rings: rings, pieces: pieces)
        } catch {
            // Not the back end's fault.
            logOnce(error)
            return driver.requestReset(.hostFailure(error.errno))
        }
        if isConnected {
            do throws(VhostUserError) { try begin() } catch {
                if let fault = lose(error) { driver.requestReset(.hostFailure(fault)) }
            }
        }
        session?.isFresh = false
    }

    // MARK: Start

    /// Gives the session's rings to the back end, which has just come, or has been waiting for a driver.
    func begin() throws(VhostUserError) {
        guard let session, let connection, session.deadline == nil else { return }
        if !session.hasBegun { try chooseRelays(session) }
        let isRelayed = !(self.session?.relays.isEmpty ?? true)
        // A relay finds out by itself what is new, and looks at every interrupt anyway.
        let wanted = isRelayed ? session.driver.features & ~VirtioFeature.eventIndex : session.driver.features
        try connection.send(
            VhostUserMessage(.setFeatures, wanted & offer.features | (offer.hasProtocolFeatures ? VhostUserFeature.protocolFeatures : 0)))
        guard needs.replays, !isRelayed else { return try startRings() }
        if let area = session.inflight {
            guard offer.tracksInflight else { return abandon(.lessThanBefore) }
            try connection.send(area.handover)
            return try startRings()
        }
        try connection.send(VhostUserInflight.request(Self.shape(session)))
        redial?.timer.arm(nanoseconds: limits.start)
    }

    private static func shape(_ session: VhostUserSession) -> VhostUserInflight.Shape {
        VhostUserInflight.Shape(
            queues: UInt16(clamping: session.driver.configurations.count),
            queueSize: UInt16(clamping: session.rings.map(\.configuration.size).max() ?? 0))
    }

    /// The back end has made the memory in which it notes what it does.
    func adoptInflight(_ answer: VhostUserAnswer, _ connection: VhostUserConnection) throws(VhostUserError) {
        let file = connection.takeDescriptor()
        // Reset meanwhile.
        guard let session, session.deadline == nil, session.started.isEmpty else { return }
        redial?.timer.disarm()
        let area = try VhostUserInflight(answer, file, Self.shape(session))
        self.session?.inflight = area
        try connection.send(area.handover)
        try startRings()
    }

    /// A back end that does not note what it does gets relays, when nothing may be lost.
    private func chooseRelays(_ session: VhostUserSession) throws(VhostUserError) {
        guard needs.replays, !offer.tracksInflight, session.relays.isEmpty else { return }
        var relays: [VhostUserRelay] = []
        for ring in session.rings {
            guard let queue = session.driver.queues[Int(ring.index)] else { continue }
            relays.append(try VhostUserRelay(index: ring.index, queue: queue))
        }
        self.session?.relays = relays
    }

    private func startRings() throws(VhostUserError) {
        guard let session, let connection else { return }
        let driver = session.driver
        var pieces = session.pieces
        var relayRings: VhostUserRings?
        if !session.relays.isEmpty {
            let made = try VhostUserRings(sizes: session.rings.map { UInt16(clamping: $0.configuration.size) })
            pieces.append(made.piece)
            relayRings = made
            self.session?.relayRings = made
        }
        let table: VhostUserMessage
        do throws(VhostUserError) { table = try VhostUserMemory.table(pieces) } catch { return abandon(error) }
        // As in `VhostKernel`: whoever serves the rings trusts these numbers.
        for ring in session.rings {
            do throws(QueueFault) { _ = try VhostRing(ring.configuration, memory: driver.memory) } catch { return abandon(.brokenRing) }
        }
        do throws(Errno) { try gate.add(errorEvent.raw) } catch { throw .socket(error) }
        try connection.send(table)
        let call = session.relays.isEmpty ? driver.interrupt.delegateUsedBuffers() ?? callEvent.raw : callEvent.raw
        for (place, ring) in session.rings.enumerated() {
            let relay = session.relays.dropFirst(place).first
            var base: UInt16 = 0
            var kick = driver.notifications[Int(ring.index)].raw
            var configuration = ring.configuration
            if let relay, let relayRings {
                configuration = relayRings.configuration(place, configuration)
                relay.attach(relayRings.rings(place, size: UInt16(clamping: configuration.size)))
                kick = relay.kickDescriptor
            } else {
                driver.handOver(Int(ring.index))
                // Requests that were taken and not given back are noted in the area, or were packets.
                if session.hasBegun { base = driver.queues[Int(ring.index)]?.usedIndexInMemory ?? 0 }
            }
            self.session?.started.append(ring.index)
            try connection.send(VhostUserMessage(.setRingSize, ring: ring.index, configuration.size))
            try connection.send(VhostUserMessage(.setRingBase, ring: ring.index, UInt32(base)))
            try connection.send(VhostUserMemory.ring(ring.index, configuration))
            try connection.send(VhostUserMessage(.setError, UInt64(ring.index), descriptors: [errorEvent.raw]))
            try connection.send(VhostUserMessage(.setCall, UInt64(ring.index), descriptors: [call]))
            // The back end begins with this one.
            try connection.send(VhostUserMessage(.setKick, UInt64(ring.index), descriptors: [kick]))
        }
        self.session?.hasBegun = true
        try enableRings()
        if !session.isFresh { try wakeBackEnd() }
    }

    /// Whoever served the rings before may have taken notifications and done nothing about them; and nobody did while nobody was there.
    private func wakeBackEnd() throws(VhostUserError) {
        guard let session, let file = session.pieces.first?.file else { return }
        guard session.relays.isEmpty else {
            for ring in session.rings {
                if case .fault(.needsReset(let fault)) = serve(queue: Int(ring.index)) { session.driver.requestReset(fault) }
            }
            return
        }
        for ring in session.rings {
            do throws(Errno) { try checked(cvhostuser_signal(session.driver.notifications[Int(ring.index)].raw, file.descriptor)) } catch { throw .socket(error) }
        }
    }

    /// The first `count` rings move something from now on.
    func setEnabledRings(_ count: Int) {
        guard count != enabledRings else { return }
        enabledRings = count
        do throws(VhostUserError) { try enableRings() } catch {
            let control = session?.driver.control
            if let fault = lose(error) { control?.requestReset(.hostFailure(fault)) }
        }
    }

    private func enableRings() throws(VhostUserError) {
        guard let session, let connection, isConnected, offer.hasProtocolFeatures else { return }
        for ring in session.started {
            let isEnabled = Int(ring) < enabledRings
            // Disabled is how they start.
            if isEnabled || enabledRings != .max { try connection.send(VhostUserMessage(.setRingEnable, ring: ring, isEnabled ? 1 : 0)) }
        }
    }

    // MARK: Requests

    /// The driver has queued something in a queue that is relayed.
    func serve(queue index: Int) -> ServiceResult {
        guard let relays = session?.relays else { return .idle }
        for relay in relays where Int(relay.index) == index {
            do throws(QueueFault) { return try relay.serve() ? .again : .idle } catch { return .fault(.needsReset(error)) }
        }
        return .idle
    }

    /// The back end says that it has done something.
    func giveBack() throws(VhostUserError) {
        guard let interrupt = session?.driver.interrupt, let relays = session?.relays else { return }
        var wantsInterrupt = relays.isEmpty
        defer { if wantsInterrupt { interrupt.raise(VirtioInterrupt.usedBuffer) } }
        for relay in relays where try relay.collect() { wantsInterrupt = true }
    }

    // MARK: Loss

    /// There is no back end: what it has done is the driver's; the rest waits.
    func pauseSession() {
        guard let session else { return }
        // It may have given buffers back and died before it said so. What makes no sense is not given back.
        for relay in session.relays {
            _ = try? relay.collect()
            relay.detach()
        }
        session.driver.interrupt.raise(VirtioInterrupt.usedBuffer)
        errorEvent.drain()
        self.session?.started = []
        self.session?.relayRings = nil
    }

    /// The session cannot go on with this back end, nor with another: nothing of it has been started.
    func abandon(_ error: VhostUserError) {
        logOnce(error)
        session?.driver.requestReset(.hostFailure(error.errno))
        session = nil
    }

    // MARK: Reset

    /// True when the back end has let go of all rings, or is lost.
    func prepareReset() -> Bool {
        guard let connection, isConnected, let running = session else { return true }
        do throws(VhostUserError) {
            if running.deadline == nil {
                session?.deadline = Clock.monotonicNanoseconds() &+ limits.reset
                for ring in running.started { try connection.send(VhostUserMessage(.getRingBase, ring: ring, 0), ring: ring) }
            }
            try receive()
            if connection.owesNothing { return true }
            if let deadline = session?.deadline, Clock.monotonicNanoseconds() >= deadline { throw VhostUserError.silent }
            return false
        } catch {
            _ = lose(error)
            return true
        }
    }

    /// Ends the session. What `prepareReset` has not waited for is waited for here, for a short time.
    func reset() {
        if session != nil, !prepareReset() {
            do throws(VhostUserError) { try settle() } catch { _ = lose(error) }
        }
        session = nil
        gate.remove(errorEvent.raw)
        errorEvent.drain()
        callEvent.drain()
        if isConnected { redial?.timer.disarm() }
    }

    /// The driver takes one ring back.
    func stopQueue(_ index: Int) {
        guard let ring = session?.rings.first(where: { Int($0.index) == index })?.index else { return }
        session?.rings.removeAll { $0.index == ring }
        if let connection, let isStarted = session?.started.contains(ring), isStarted {
            session?.started.removeAll { $0 == ring }
            do throws(VhostUserError) {
                try connection.send(VhostUserMessage(.getRingBase, ring: ring, 0), ring: ring)
                try settle()
                try giveBack()
            } catch {
                let control = session?.driver.control
                if let fault = lose(error) { control?.requestReset(.hostFailure(fault)) }
            }
        }
        session?.relays.removeAll { $0.index == ring }
    }

    /// Waits for all answers, for a short time.
    private func settle() throws(VhostUserError) {
        let deadline = Clock.monotonicNanoseconds() &+ limits.stop
        while let connection {
            try receive()
            if connection.owesNothing { return }
            try connection.waitForAnswer(until: deadline)
        }
    }
}
