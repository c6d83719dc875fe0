internal import AddressSpace
internal import LinuxSys

/// The front end of the vhost-user protocol (QEMU, docs/interop/vhost-user.rst): another program serves a device's queues in shared guest memory. A
/// device owns one and passes on what its transport calls; all of it runs under the device's lock.
///
/// Only `init` waits for answers, a few seconds at most. Afterwards requests go out without waiting, and what comes back (answers, acknowledgements, a hang-up) is an
/// event of the loop. A reset has to know that the back end has let go of the rings: the vCPU that resets the device asks again and again without the
/// lock (`prepareReset`), until the back end has answered or has lost its patience.
///
/// A back end that breaks the rules or hangs up is lost. With a way to dial, another one is looked for until it comes; the session goes on with it, and the
/// guest sees a pause. Without one the loss costs the guest its device, which says DEVICE_NEEDS_RESET, and nothing else.
final class VhostUser {
    /// How long the back end may take, nanoseconds.
    struct Limits {
        /// For all answers of a handshake.
        var start: UInt64 = 3_000_000_000
        /// To end what is in flight at a reset. The disk behind it may be slow; only the vCPU waits.
        var reset: UInt64 = 5_000_000_000
        /// The same where the device's lock is held meanwhile, which may hold up the event loop. Once: then the back end is given up.
        var stop: UInt64 = 500_000_000
        /// Between attempts to find a back end again, from quick to slow. One that stayed up for the longest of them was none that comes only to go.
        var redial: ClosedRange<UInt64> = 100_000_000...3_000_000_000
    }

    /// Makes a connection, without waiting.
    typealias Dial = @Sendable () throws(VhostUserError) -> VhostUserConnection

    /// For messages: the option at fault.
    let name: String
    let limits: Limits
    var needs: VhostUserNeeds
    /// What the back end can do, or could do before it went.
    var offer: VhostUserOffer
    let gate: EventGate
    /// The back end signals used buffers here where the interrupt line has no eventfd of its own, or a relay has to look.
    let callEvent: EventFD
    /// The back end signals here when a ring makes no sense. Never read: once is enough.
    let errorEvent: EventFD
    /// Nil while there is none.
    var connection: VhostUserConnection?
    /// Nil once the back end is known.
    var handshake: VhostUserHandshake?
    var channel: VhostUserChannel?
    var session: VhostUserSession?
    /// Rings from the first on that are enabled; the others are started, and stand still.
    var enabledRings = Int.max
    let redial: VhostUserRedial?
    /// Something that the driver can see has changed: `takeNews`.
    var hasNews = false
    private var hasLogged = false

    /// The only descriptor to be watched.
    var eventSource: Int32 { gate.raw }
    /// There is a back end, and it is known.
    var isConnected: Bool { connection != nil && handshake == nil }

    /// Talks to the back end until it is known what it can do. `dial`: how to find one that comes in its place.
    init(
        _ connection: VhostUserConnection, name: String, needs: VhostUserNeeds, limits: Limits = Limits(), dial: Dial? = nil
    ) throws(VhostUserError) {
        let deadline = Clock.monotonicNanoseconds() &+ limits.start
        let channel = needs.configurationSize > 0 ? try VhostUserChannel() : nil
        var handshake = try VhostUserHandshake(connection, needs: needs, channel: channel)
        var isKnown = false
        while !isKnown {
            if let answer = try connection.next() {
                isKnown = try handshake.take(answer, connection)
            } else {
                try connection.waitForAnswer(until: deadline)
            }
        }
        do throws(Errno) {
            gate = try EventGate()
            callEvent = try EventFD()
            errorEvent = try EventFD()
            redial = if let dial { VhostUserRedial(dial: dial, timer: try TimerFD()) } else { nil }
            try gate.add(connection.raw)
            try gate.add(callEvent.raw)
            if let channel { try gate.add(channel.raw) }
            if let redial { try gate.add(redial.timer.raw) }
        } catch {
            throw .socket(error)
        }
        self.name = name
        self.limits = limits
        self.needs = needs
        self.connection = connection
        self.channel = channel
        offer = handshake.offer
        redial?.isUp()
    }

    // MARK: Events

    /// `eventSource` is readable.
    func eventSourceReady() -> ServiceResult {
        // At most one turn for each descriptor: the loop has others.
        for _ in 0..<5 {
            guard let ready = gate.next() else { break }
            do throws(VhostUserError) { try serve(ready) } catch {
                if let fault = lose(error) { return .fault(.needsReset(.hostFailure(fault))) }
            }
        }
        return .idle
    }

    private func serve(_ descriptor: Int32) throws(VhostUserError) {
        switch descriptor {
        case callEvent.raw:
            callEvent.drain()
            try giveBack()
        case errorEvent.raw:
            throw .brokenRing
        case redial?.timer.raw:
            try timeIsOver()
        case channel?.raw:
            try serveChannel()
        default:
            try receive()
        }
    }

    /// Takes all answers that are there.
    func receive() throws(VhostUserError) {
        while let connection, let answer = try connection.next() {
            if var greeting = handshake {
                let isKnown = try greeting.take(answer, connection)
                handshake = greeting
                if isKnown { try meet(greeting.offer) }
                continue
            }
            switch answer.request {
            case .getInflight: try adoptInflight(answer, connection)
            case .getConfiguration: try adoptConfiguration(Array(answer.payload))
            default: break
            }
        }
    }

    /// True once after the configuration, or `isConnected`, has changed.
    func takeNews() -> Bool {
        defer { hasNews = false }
        return hasNews
    }

    // MARK: Configuration

    /// The back end may say again and again that its configuration has changed: one question at a time.
    private func serveChannel() throws(VhostUserError) {
        guard let channel else { return }
        do throws(VhostUserError) {
            guard try channel.receive(), let connection, isConnected, !connection.owes(.getConfiguration) else { return }
            try connection.send(VhostUserMessage.getConfiguration(count: needs.configurationSize))
        } catch .hungUp {
            // It lives on without: the connection tells when it dies.
            gate.remove(channel.raw)
            self.channel = nil
        }
    }

    private func adoptConfiguration(_ bytes: [UInt8]) throws(VhostUserError) {
        var changed = offer
        changed.configuration = bytes
        try needs.check(changed)
        hasNews = hasNews || changed != offer
        offer = changed
    }

    // MARK: Loss

    /// Gives the back end up. What it means for the device: nil, it waits for another one; else why it needs a reset, if a driver uses it.
    func lose(_ error: VhostUserError) -> Errno? {
        guard let connection else { return nil }
        gate.remove(connection.raw)
        gate.remove(errorEvent.raw)
        if let channel { gate.remove(channel.raw) }
        self.connection = nil
        handshake = nil
        channel = nil
        guard let redial else {
            Log.error("\(name): \(error)")
            return session == nil ? nil : error.errno
        }
        redial.isDown(name, error, limits)
        hasNews = true
        pauseSession()
        return nil
    }

    /// A host that cannot do what a session needs: the guest may try again and again, and must not fill the log.
    func logOnce(_ error: VhostUserError) {
        if !hasLogged { Log.error("\(name): \(error)") }
        hasLogged = true
    }
}
