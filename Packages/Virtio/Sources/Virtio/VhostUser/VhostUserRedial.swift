internal import LinuxSys

/// When the next attempt is due to find a back end that has gone, and what is said about it. A back end that comes only to go again costs a connection every few
/// seconds, and no line of the log.
final class VhostUserRedial {
    let dial: VhostUser.Dial
    /// Runs while there is no back end, and while one is expected to answer.
    let timer: TimerFD
    private var delay: UInt64 = 0
    private var upSince: UInt64 = 0
    private var hasSaidDown = false
    private var hasSaidUp = false

    init(dial: @escaping VhostUser.Dial, timer: TimerFD) {
        self.dial = dial
        self.timer = timer
    }

    /// A back end is there and known.
    func isUp(_ name: String? = nil) {
        upSince = Clock.monotonicNanoseconds()
        timer.disarm()
        if let name, hasSaidDown, !hasSaidUp {
            Log.info("\(name): a vhost-user back end is there again")
            hasSaidUp = true
        }
    }

    /// It has gone, or none came.
    func isDown(_ name: String, _ error: VhostUserError, _ limits: VhostUser.Limits) {
        if upSince != 0, Clock.monotonicNanoseconds() &- upSince >= limits.redial.upperBound {
            delay = 0
            hasSaidDown = false
        }
        upSince = 0
        if !hasSaidDown {
            Log.warn("\(name): \(error); waiting for another one")
            hasSaidDown = true
            hasSaidUp = false
        }
        delay = min(max(delay &* 2, limits.redial.lowerBound), limits.redial.upperBound)
        timer.arm(nanoseconds: delay)
    }
}

extension VhostUser {
    /// It is time for an attempt, or a back end that has come has been silent for too long.
    func timeIsOver() throws(VhostUserError) {
        guard let redial, redial.timer.drain() else { return }
        guard connection == nil else { throw .silent }
        do throws(VhostUserError) { try greet(redial) } catch {
            if connection != nil { throw error }
            redial.isDown(name, error, limits)
        }
    }

    private func greet(_ redial: VhostUserRedial) throws(VhostUserError) {
        let connection = try redial.dial()
        let channel = needs.configurationSize > 0 ? try VhostUserChannel() : nil
        let handshake = try VhostUserHandshake(connection, needs: needs, channel: channel)
        do throws(Errno) {
            try gate.add(connection.raw)
            if let channel { try gate.add(channel.raw) }
        } catch {
            gate.remove(connection.raw)
            throw .socket(error)
        }
        self.connection = connection
        self.channel = channel
        self.handshake = handshake
        redial.timer.arm(nanoseconds: limits.start)
    }

    /// The back end that came in the place of another is known: the session goes on with it.
    func meet(_ offer: VhostUserOffer) throws(VhostUserError) {
        handshake = nil
        let known = self.offer.features
        self.offer = offer
        hasNews = true
        redial?.isUp(name)
        guard let session else { return }
        guard session.driver.features & known & ~offer.features == 0 else { return abandon(.lessThanBefore) }
        try begin()
    }
}
