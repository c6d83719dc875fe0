internal import LinuxSys
internal import Synchronization

/// One address and at most one client on it. Further clients wait in the socket's backlog until that one hangs up.
///
/// All members run on the event loop's thread, or while the loop does not run. The lock is never held while the machine is called.
final class QMPListener: QMPClient, Sendable {
    private struct State: ~Copyable {
        let socket: OwnedFD
        var client: QMPConnection?
        var isClosed = false
        /// Of the address, not of the connection: hanging up must not buy more.
        var rate: QMPRateLimit

        init(_ socket: consuming OwnedFD, _ rate: QMPRateLimit) {
            self.socket = socket
            self.rate = rate
        }
    }

    /// How long accepting rests after the process ran out of descriptors or memory; the waiting client keeps the socket readable, and the loop would spin.
    private static let acceptRest: UInt64 = 100_000_000

    private let loop: EventLoop
    private let dispatcher: QMPDispatcher
    /// Sends the events that a command caused.
    private let deliverEvents: @Sendable () -> Void
    private let state: Mutex<State>

    init(
        _ socket: consuming OwnedFD, loop: EventLoop, dispatcher: QMPDispatcher, rate: QMPRateLimit, deliverEvents: @escaping @Sendable () -> Void
    ) throws(Errno) {
        self.loop = loop
        self.dispatcher = dispatcher
        self.deliverEvents = deliverEvents
        let descriptor = socket.raw
        state = Mutex(State(socket, rate))
        try loop.add(descriptor, .readable) { [weak self] _ in self?.accept() }
    }

    private func accept() {
        // What happened before a client came is not told to it.
        deliverEvents()
        let descriptor: Int32? = state.withLock { state -> Int32? in
            guard !state.isClosed, state.client == nil else { return nil }
            do throws(Errno) {
                var client = QMPConnection(try StreamSocket.accept(state.socket))
                let descriptor = client.descriptor
                client.sendGreeting()
                state.client = consume client
                try loop.modify(state.socket.raw, [])
                return descriptor
            } catch {
                if error != .again { restFromAccepting(state.socket.raw) }
                return nil
            }
        }
        guard let descriptor else { return }
        do {
            try loop.add(descriptor, .readable) { [weak self] _ in self?.serve() }
            serve()
        } catch {
            hangUp()
        }
    }

    private func restFromAccepting(_ descriptor: Int32) {
        try? loop.modify(descriptor, [])
        loop.after(nanoseconds: Self.acceptRest) { [weak self] in self?.acceptAgain() }
    }

    private func acceptAgain() {
        state.withLock { state in
            guard !state.isClosed, state.client == nil else { return }
            try? loop.modify(state.socket.raw, .readable)
        }
    }

    /// Serves the client as far as its socket allows.
    private func serve() {
        var mayRead = true
        while let event = nextInput(&mayRead) {
            let reply = dispatcher.answer(event, to: self) { state.withLock { $0.rate.take(at: Clock.monotonicNanoseconds()) } }
            state.withLock { state in
                state.client?.send(reply)
                state.client?.allowEvents()
            }
            // After the answer: clients take what comes before it for something that happened before the command.
            deliverEvents()
        }
        settle()
    }

    func takeDescriptor() -> OwnedFD? { state.withLock { $0.client?.takeDescriptor() } }

    private func nextInput(_ mayRead: inout Bool) -> JSONReader.Event? {
        var spend = mayRead
        let step: QMPConnection.Step = state.withLock { state in
            while true {
                let step = state.client?.next(mayRead: &spend) ?? .wait
                if case .input = step { return step }
                // What the socket takes now may make room for requests that have been read already.
                let wasFull = state.client?.isFull ?? false
                state.client?.flush()
                if !wasFull || state.client?.isFull ?? false { return .wait }
            }
        }
        mayRead = spend
        if case .input(let event) = step { return event }
        return nil
    }

    /// Watches what the client's state calls for, or ends the connection.
    private func settle() {
        let isFinished = state.withLock { state in
            state.client?.flush()
            guard let finished = state.client?.isFinished, !finished else { return true }
            guard let wanted = state.client?.wanted, wanted != state.client?.watched, let descriptor = state.client?.descriptor else { return false }
            state.client?.setWatched(wanted)
            do { try loop.modify(descriptor, wanted) } catch { return true }
            return false
        }
        if isFinished { hangUp() }
    }

    private func hangUp() {
        state.withLock { state in
            guard let descriptor = state.client?.descriptor else { return }
            loop.remove(descriptor)
            state.client = nil
            guard !state.isClosed else { return }
            try? loop.modify(state.socket.raw, .readable)
        }
    }

    /// Sends events to the client, if there is one.
    func deliver(_ lines: [[UInt8]]) {
        let hasClient = state.withLock { state in
            guard state.client != nil else { return false }
            for line in lines { state.client?.sendEvent(line) }
            return true
        }
        if hasClient { settle() }
    }

    /// Tries once more to send everything, also events that waited for the client's first command; true when nothing is left.
    func flush() -> Bool {
        state.withLock { state in
            state.client?.allowEvents()
            state.client?.flush()
            return state.client?.isFlushed ?? true
        }
    }

    /// Hangs up and listens no more.
    func close() {
        hangUp()
        state.withLock { state in
            guard !state.isClosed else { return }
            state.isClosed = true
            loop.remove(state.socket.raw)
        }
    }
}
