public import LinuxSys
internal import Synchronization

/// Where the peer of a stream is.
public enum StreamAddress: Equatable, Sendable, CustomStringConvertible {
    /// At most 107 bytes (unix(7)).
    case unix(path: String)
    /// A numeric IPv4 or IPv6 address.
    case inet(host: String, port: UInt16)
    /// An open socket, connected or listening; ownership goes over.
    case descriptor(Int32)

    public var description: String {
        switch self {
        case .unix(let path): "'\(path)'"
        case .inet(let host, let port): host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .descriptor(let number): "descriptor \(number)"
        }
    }
}

/// How the peer of a stream is found.
public struct StreamOptions: Sendable {
    /// The `-netdev`'s id, for messages.
    public var netdev: String
    public var address: StreamAddress
    /// Listens, and takes one peer at a time; else connects.
    public var isServer: Bool
    /// Milliseconds after which a client tries again to find a peer that is not there, or that has gone; 0: never.
    public var reconnect: UInt32

    public init(netdev: String, address: StreamAddress, isServer: Bool = false, reconnect: UInt32 = 0) {
        self.netdev = netdev
        self.address = address
        self.isServer = isServer
        self.reconnect = reconnect
    }
}

extension NetBackend {
    /// Connects, or listens. A peer that is not there is an error for a client that would not look for it again. `changed` is called on `loop`'s thread, which is
    /// also the one to call this on, whenever `hasCarrier` has changed later.
    public static func openStream(
        _ options: StreamOptions, loop: EventLoop, changed: @escaping @Sendable (_ isConnected: Bool) -> Void
    ) throws(NetError) -> NetBackend {
        let link = StreamLink(options, loop: loop, changed: changed)
        try link.open()
        return NetBackend(name: options.netdev, .stream(link))
    }
}

/// The connection of a stream: made, watched for its end, and made again. One peer at a time; others wait in the kernel's queue.
final class StreamLink: Sendable {
    /// Between two peers of a server, nanoseconds: one that comes and goes in a circle must not keep loop, log and guest busy.
    private static let rest: UInt64 = 100_000_000
    /// What a TCP peer gets to answer at the start, before it is waited for in the background.
    private static let startPatience: UInt64 = 250_000_000

    private final class Listener: Sendable {
        let socket: OwnedFD
        init(_ socket: consuming OwnedFD) { self.socket = socket }
    }

    private struct State: Sendable {
        var stream: FrameStream?
        /// Under way (TCP).
        var attempt: FrameStream?
        var listener: Listener?
        var timer: EventLoop.TimerID?
        var hasComplained = false
    }

    private let options: StreamOptions
    private let loop: EventLoop
    private let changed: @Sendable (Bool) -> Void
    private let state = Mutex(State())
    private let cleanup = Mutex<ExitActions.Path?>(nil)

    init(_ options: StreamOptions, loop: EventLoop, changed: @escaping @Sendable (Bool) -> Void) {
        self.options = options
        self.loop = loop
        self.changed = changed
    }

    deinit {
        let state = state.withLock { $0 }
        if let timer = state.timer { loop.cancel(timer) }
        for stream in [state.stream, state.attempt] { if let stream { loop.remove(stream.descriptor) } }
        if let listener = state.listener { loop.remove(listener.socket.raw) }
        if let path = cleanup.withLock({ $0 }) { ExitActions.removeNow(path) }
    }

    var stream: FrameStream? { state.withLock { $0.stream } }
    var isConnected: Bool { stream != nil }

    // MARK: Start

    func open() throws(NetError) {
        if case .descriptor(let number) = options.address { return try adopt(OwnedFD(adopting: number), number) }
        if options.isServer {
            do throws(Errno) { try startListening(try listen()) } catch { throw .cannotListen(netdev: options.netdev, address: options.address, error) }
            return
        }
        do throws(Errno) { try connect(isFirst: true) } catch {
            guard options.reconnect > 0 else { throw .cannotConnect(netdev: options.netdev, address: options.address, error) }
            tryLater("cannot connect to \(options.address): \(error)")
        }
    }

    private func adopt(_ socket: consuming OwnedFD, _ number: Int32) throws(NetError) {
        let listens: Bool
        do throws(Errno) { listens = try StreamSocket.listens(socket) } catch { throw .notAStream(netdev: options.netdev, descriptor: number, error) }
        guard listens == options.isServer else { throw .wrongStream(netdev: options.netdev, descriptor: number, listens: listens) }
        do throws(Errno) {
            try socket.setNonBlocking(true)
            if listens { try startListening(socket) } else { try use(FrameStream(socket)) }
        } catch { throw .notAStream(netdev: options.netdev, descriptor: number, error) }
    }

    // MARK: Server

    private func listen() throws(Errno) -> OwnedFD {
        switch options.address {
        case .unix(let path):
            let listener = try StreamSocket.listenReplacingStale(path: path, backlog: 1)
            do throws(Errno) {
                let registered = try ExitActions.remove(path: path)
                cleanup.withLock { $0 = registered }
            } catch {
                try? SysFile.remove(path)
                throw error
            }
            return listener
        case .inet(let host, let port): return try StreamSocket.listen(host: host, port: port, backlog: 1)
        case .descriptor: throw .invalid
        }
    }

    private func startListening(_ listener: consuming OwnedFD) throws(Errno) {
        let listener = Listener(listener)
        try loop.add(listener.socket.raw, .readable) { [weak self] _ in self?.accept() }
        state.withLock { $0.listener = listener }
    }

    private func accept() {
        guard let listener = state.withLock({ $0.stream == nil ? $0.listener : nil }) else { return }
        // Level triggered: whoever waits next is not to be told of.
        try? loop.modify(listener.socket.raw, [])
        do throws(Errno) {
            let socket = try StreamSocket.accept(listener.socket)
            if case .inet = options.address { socket.tuneForConsole() }
            try use(FrameStream(socket))
            changed(true)
        } catch { resumeListening() }
    }

    /// Not at once, also when the process has run out of descriptors: the client that waits keeps the socket readable.
    private func resumeListening() {
        after(Self.rest) { link in
            if let listener = link.state.withLock({ $0.listener }) { try? link.loop.modify(listener.socket.raw, .readable) }
        }
    }

    // MARK: Client

    private func connect(isFirst: Bool) throws(Errno) {
        switch options.address {
        case .unix(let path): try use(FrameStream(try StreamSocket.connect(path: path)))
        case .inet(let host, let port):
            let socket = try StreamSocket.beginConnect(host: host, port: port)
            socket.tuneForConsole()
            // At the start somebody waits for the answer; later nobody may.
            if isFirst, !(try socket.wait(for: .writable, nanoseconds: Self.startPatience)).isEmpty {
                try socket.connectionResult()
                return try use(FrameStream(socket))
            }
            try expect(FrameStream(socket))
        case .descriptor: throw .invalid
        }
    }

    /// A connection that is being made: its socket becomes writable when it is known what became of it.
    private func expect(_ attempt: FrameStream) throws(Errno) {
        try loop.add(attempt.descriptor, .writable) { [weak self, weak attempt] _ in
            if let self, let attempt { finish(attempt) }
        }
        state.withLock { $0.attempt = attempt }
    }

    private func finish(_ attempt: FrameStream) {
        loop.remove(attempt.descriptor)
        state.withLock { $0.attempt = nil }
        do throws(Errno) {
            try attempt.connectionResult()
            try use(attempt)
            changed(true)
        } catch { tryLater("cannot connect to \(options.address): \(error)") }
    }

    private func retry() {
        do throws(Errno) {
            try connect(isFirst: false)
            if isConnected { changed(true) }
        } catch { tryLater("cannot connect to \(options.address): \(error)") }
    }

    private func tryLater(_ reason: @autoclosure () -> String) {
        let interval = UInt64(options.reconnect) * 1_000_000
        complain(interval > 0 ? "\(reason()); trying again every \(options.reconnect) ms" : reason())
        if interval > 0 { after(interval) { $0.retry() } }
    }

    // MARK: A connection

    /// Packets may be moved from here on.
    private func use(_ stream: FrameStream) throws(Errno) {
        // An event of the end only: the halves of the device read and write.
        try loop.add(stream.descriptor, .peerClosed) { [weak self, weak stream] _ in
            if let self, let stream { ended(stream) }
        }
        state.withLock { $0.stream = stream }
    }

    private func ended(_ stream: FrameStream) {
        loop.remove(stream.descriptor)
        stream.fail(.hungUp)
        let wasUsed = state.withLock { state in
            guard state.stream === stream else { return false }
            state.stream = nil
            return true
        }
        guard wasUsed else { return }
        // The device lets go of it first.
        changed(false)
        if state.withLock({ $0.listener != nil }) {
            complain(reason(stream))
            resumeListening()
        } else {
            tryLater(reason(stream))
        }
    }

    private func reason(_ stream: FrameStream) -> String {
        switch stream.failure {
        case .tooLong(let length)?: "the peer at \(options.address) has sent a frame of \(length) bytes, more than there can be, and was cut off"
        case .error(let error)? where error != .connectionReset && error != .brokenPipe: "the connection to \(options.address) has failed: \(error)"
        default: "the peer at \(options.address) has hung up"
        }
    }

    // MARK: Others

    private func after(_ nanoseconds: UInt64, _ work: @escaping @Sendable (StreamLink) -> Void) {
        let timer = loop.after(nanoseconds: nanoseconds) { [weak self] in
            guard let self else { return }
            state.withLock { $0.timer = nil }
            work(self)
        }
        state.withLock { $0.timer = timer }
    }

    /// One line: a peer that comes and goes in a circle must not fill the log.
    private func complain(_ text: String) {
        let isFirst = state.withLock { state in
            defer { state.hasComplained = true }
            return !state.hasComplained
        }
        if isFirst { Log.warn("-netdev \(options.netdev): \(text)") }
    }
}
