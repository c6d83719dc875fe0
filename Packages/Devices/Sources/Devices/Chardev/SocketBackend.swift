public import LinuxSys
internal import Synchronization

/// A listening socket as a character device (`server,nowait`): one client at a time, any number one after the other.
///
/// While a client is connected the next one waits in the kernel's queue. Output without a client, or faster than the client
/// reads, is dropped and counted. A unix socket's file has mode 0600, replaces a stale one, and is removed at the end.
public final class SocketBackend: CharBackend {
    private let address: SocketAddress
    private let listener: OwnedFD
    private let cleanup: ExitActions.Path?
    private let stream: CharStream
    private let server: ListenerWatch

    /// A unix socket.
    public convenience init(path: String) throws(CharBackendError) { try self.init(listeningOn: .unix(path: path)) }

    /// Listens; clients may connect from now on and are served once the loop runs.
    public init(listeningOn address: SocketAddress) throws(CharBackendError) {
        self.address = address
        let watch = ListenerWatch()
        server = watch
        stream = try CharStream(patience: 0, onHangUp: { watch.resume() })
        do throws(Errno) {
            listener = try address.listen()
            if case .unix(let path) = address {
                do throws(Errno) { cleanup = try ExitActions.remove(path: path) } catch {
                    try? SysFile.remove(path)
                    throw error
                }
            } else {
                cleanup = nil
            }
        } catch { throw .cannotListen(path: address.short, error) }
    }

    public var isConnected: Bool { stream.hasPeer }
    public var droppedBytes: UInt64 { stream.droppedBytes }
    public var filename: String { (isConnected ? "" : "disconnected:") + "\(address),server=on" }

    /// The port of a TCP socket, as the kernel chose it when 0 was asked for; 0 for others.
    public var port: UInt16 {
        guard case .tcp = address else { return 0 }
        return (try? StreamSocket.port(of: listener)) ?? 0
    }

    public func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError) {
        try stream.start(on: loop, client: client)
        try server.start(on: loop, descriptor: listener.raw) { [weak self] in self?.accept() }
    }

    public func send(_ byte: UInt8) -> Bool { stream.send(byte) }
    public func send(_ bytes: Span<UInt8>, _ loss: OutputLoss) -> Int { stream.send(bytes, loss) }
    public func resumeReceiving() { stream.resumeReceiving() }

    public func stop() {
        server.stop()
        stream.stop()
        guard server.removeOnce(), let cleanup else { return }
        ExitActions.removeNow(cleanup)
    }

    /// The loop's thread. A client that has gone already gives an error here and changes nothing.
    private func accept() {
        guard !stream.isConnected else { return }
        do throws(Errno) {
            let client = try StreamSocket.accept(listener)
            if case .tcp = address { client.tuneForConsole() }
            server.pause()
            stream.attach(CharConnection(duplex: client, isSocket: true))
        } catch {
            if error != .again { server.rest() }
        }
    }
}

/// Whether the listening socket is watched: only while there is no client, as a level-triggered event would repeat.
private final class ListenerWatch: Sendable {
    private struct State {
        var loop: EventLoop?
        var descriptor: Int32 = -1
        var isRemoved = false
    }
    private let state = Mutex(State())

    func start(on loop: EventLoop, descriptor: Int32, _ accept: @escaping @Sendable () -> Void) throws(CharBackendError) {
        state.withLock { state in
            state.loop = loop
            state.descriptor = descriptor
        }
        do throws(Errno) { try loop.add(descriptor, .readable) { _ in accept() } } catch { throw .eventLoop(error) }
    }

    func pause() { modify([]) }
    func resume() { modify(.readable) }

    /// After the process ran out of descriptors or memory: the client that waits keeps the socket readable, and the loop would spin.
    func rest() {
        pause()
        state.withLock { $0.loop }?.after(nanoseconds: 100_000_000) { [weak self] in self?.resume() }
    }

    func stop() {
        state.withLock { state in
            state.loop?.remove(state.descriptor)
            state.loop = nil
        }
    }

    /// True the first time.
    func removeOnce() -> Bool {
        state.withLock { state in
            defer { state.isRemoved = true }
            return !state.isRemoved
        }
    }

    private func modify(_ events: EventLoop.Events) {
        state.withLock { state in try? state.loop?.modify(state.descriptor, events) }
    }
}
