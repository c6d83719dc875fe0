public import LinuxSys
internal import Synchronization

/// A connection to somebody else's socket as a character device.
///
/// A peer that is not there at the start is an error: most likely the address is wrong. (A TCP peer that neither accepts nor refuses within a quarter of a
/// second is tried on in the background.) After a peer has hung up, its return is awaited: one attempt every three seconds. Meanwhile
/// output is dropped and counted.
public final class SocketClientBackend: CharBackend {
    private let address: SocketAddress
    private let stream: CharStream
    private let connector: Connector

    /// Connects. `id` is the chardev's name, for the log.
    public convenience init(connectingTo address: SocketAddress, id: String = "") throws(CharBackendError) {
        try self.init(connectingTo: address, id: id, interval: 3_000_000_000)
    }

    /// `interval`: nanoseconds between attempts.
    init(connectingTo address: SocketAddress, id: String, interval: UInt64) throws(CharBackendError) {
        self.address = address
        let connector = Connector(address, id: id, interval: interval)
        self.connector = connector
        stream = try CharStream(patience: 0, onHangUp: { connector.peerLeft() })
        do throws(Errno) {
            if let connection = try connector.firstAttempt(nanoseconds: 250_000_000) { stream.attach(connection) }
        } catch { throw .cannotConnect(address: address.short, error) }
    }

    public var isConnected: Bool { stream.hasPeer }
    public var droppedBytes: UInt64 { stream.droppedBytes }
    public var filename: String { (isConnected ? "" : "disconnected:") + address.description }

    public func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError) {
        try stream.start(on: loop, client: client)
        stream.watch()
        connector.start(on: loop, stream)
    }

    public func send(_ byte: UInt8) -> Bool { stream.send(byte) }
    public func send(_ bytes: Span<UInt8>, _ loss: OutputLoss) -> Int { stream.send(bytes, loss) }
    public func resumeReceiving() { stream.resumeReceiving() }

    public func stop() {
        connector.stop()
        stream.stop()
    }
}

/// Gets the stream a peer, again and again. The lock is not held while the loop or the stream is called with something that may call back.
private final class Connector: Sendable {
    private struct State {
        var loop: EventLoop?
        weak var stream: CharStream?
        var timer: EventLoop.TimerID?
        /// Under way.
        var attempt: CharConnection?
        /// A peer that comes and goes in a circle must not fill the log.
        var hasComplained = false
    }

    private let address: SocketAddress
    private let id: String
    private let interval: UInt64
    private let state = Mutex(State())

    init(_ address: SocketAddress, id: String, interval: UInt64) {
        self.address = address
        self.id = id
        self.interval = interval
    }

    /// Nil: not known yet, `start` waits for it.
    func firstAttempt(nanoseconds: UInt64) throws(Errno) -> CharConnection? {
        let socket = try address.beginConnect()
        if case .tcp = address {
            let events = try socket.wait(for: .writable, nanoseconds: nanoseconds)
            if events.isEmpty {
                let connection = CharConnection(duplex: socket, isSocket: true)
                state.withLock { $0.attempt = connection }
                return nil
            }
            try socket.connectionResult()
        }
        return CharConnection(duplex: socket, isSocket: true)
    }

    func start(on loop: EventLoop, _ stream: CharStream) {
        let attempt = state.withLock { state in
            state.loop = loop
            state.stream = stream
            return state.attempt
        }
        if let attempt { watch(attempt, loop) }
    }

    func stop() {
        let attempt = state.withLock { state in
            if let timer = state.timer { state.loop?.cancel(timer) }
            if let attempt = state.attempt { state.loop?.remove(attempt.output) }
            defer {
                state.timer = nil
                state.attempt = nil
                state.loop = nil
            }
            return state.attempt
        }
        _ = consume attempt
    }

    func peerLeft() { later("\(address) has hung up") }

    // MARK: Loop's thread

    private func later(_ reason: @autoclosure () -> String) {
        let isFirst = state.withLock { state in
            guard state.timer == nil, let loop = state.loop else { return false }
            state.timer = loop.after(nanoseconds: interval) { [weak self] in self?.attempt() }
            defer { state.hasComplained = true }
            return !state.hasComplained
        }
        if isFirst { Log.info("chardev \(id): \(reason()); connecting again every \(interval / 1_000_000_000) seconds") }
    }

    private func attempt() {
        let loop = state.withLock { state in
            state.timer = nil
            return state.loop
        }
        guard let loop else { return }
        do throws(Errno) {
            let connection = CharConnection(duplex: try address.beginConnect(), isSocket: true)
            if case .unix = address { return connected(connection) }
            state.withLock { $0.attempt = connection }
            watch(connection, loop)
        } catch { later("cannot connect to \(address.short): \(error)") }
    }

    private func watch(_ connection: CharConnection, _ loop: EventLoop) {
        do throws(Errno) {
            try loop.add(connection.output, .writable) { [weak self] _ in self?.finish(connection) }
        } catch {
            state.withLock { $0.attempt = nil }
            later("cannot watch the connection: \(error)")
        }
    }

    private func finish(_ connection: CharConnection) {
        let loop = state.withLock { state -> EventLoop? in
            guard state.attempt === connection else { return nil }
            state.attempt = nil
            return state.loop
        }
        guard let loop else { return }
        loop.remove(connection.output)
        do throws(Errno) {
            try connection.connectionResult()
            connected(connection)
        } catch { later("cannot connect to \(address.short): \(error)") }
    }

    private func connected(_ connection: CharConnection) { state.withLock { $0.stream }?.attach(connection) }
}
