public import LinuxSys

/// The host's end of a character device: a terminal, a pty, a socket, a file, the log.
///
/// The peer is not trusted: it may flood, hang up at any moment or never read. Memory stays bounded and the guest runs on.
/// Output goes by one of the two `send`, not by both.
public protocol CharBackend: AnyObject, Sendable {
    /// Begins to move bytes between the host and `client` on the loop's thread. Once.
    func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError)

    /// Queues a byte for the host; never blocks, any thread. False: fewer than 16 bytes fit now, and
    /// `CharBackendClient.transmitReady` follows. What is sent against that advice may be dropped and counted.
    func send(_ byte: UInt8) -> Bool

    /// Queues the first of `bytes` for the host and says how many it took; never blocks, any thread. When it took fewer than all,
    /// `CharBackendClient.transmitReady` follows. Without a peer all are taken, dropped and counted.
    func send(_ bytes: Span<UInt8>, _ loss: OutputLoss) -> Int

    /// The client has room again after `receiveRoom` gave 0. Any thread; cheap when nothing waits.
    func resumeReceiving()

    /// Writes out what is queued, within a fifth of a second, and stops. The loop's thread, or any after the loop has ended.
    func stop()

    /// Whether a peer is there, or has left something to read. Files, terminals and the log always are. Any thread.
    var isConnected: Bool { get }

    /// Bytes that the host did not take and that were dropped. Any thread.
    var droppedBytes: UInt64 { get }

    /// What QEMU's query-chardev calls `filename`, for example "pty:/dev/pts/3" or "disconnected:unix:/run/console,server=on". Any thread.
    var filename: String { get }

    /// The path of a pseudo-terminal, which the user has to be told; nil for others.
    var terminalPath: String? { get }
}

extension CharBackend {
    public var terminalPath: String? { nil }
}

/// What becomes of output that a peer does not take.
public enum OutputLoss: Sendable {
    /// It waits as long as the peer takes anything at all; after a while without, it is dropped and counted, until the peer reads on. For consoles, as a guest's
    /// kernel may wait for them with its processor.
    case allowed
    /// It waits until the peer takes it or leaves.
    case never
}

/// The device in front of a backend. All are called on the loop's thread, never with a lock of the backend held.
public protocol CharBackendClient: AnyObject, Sendable {
    /// Bytes that `receive` will take now; 0 stops reading until `resumeReceiving`.
    func receiveRoom() -> Int
    /// At most as many bytes as `receiveRoom` last gave.
    func receive(_ bytes: ArraySlice<UInt8>)
    /// There is room again after one of the `send` could not take all.
    func transmitReady()
    /// `CharBackend.isConnected` has become true; not called for what is connected before `start`.
    func peerConnected()
    /// `CharBackend.isConnected` has become false. What the peer sent has been received.
    func peerDisconnected()
}

extension CharBackendClient {
    public func peerConnected() {}
    public func peerDisconnected() {}
}

public enum CharBackendError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The path of a file, socket or pseudo-terminal could not be opened.
    case cannotOpen(path: String, Errno)
    /// `path` is the address of a socket: a path, or host and port.
    case cannotListen(path: String, Errno)
    case cannotConnect(address: String, Errno)
    case terminal(Errno)
    case eventLoop(Errno)
    case alreadyStarted
    /// What is wrong with the chardev of that name.
    indirect case chardev(id: String, CharBackendError)

    public var description: String {
        switch self {
        case .cannotOpen(let path, let errno): "cannot open '\(path)': \(errno)"
        case .cannotListen(let path, let errno): "cannot listen on '\(path)': \(errno)"
        case .cannotConnect(let address, let errno): "cannot connect to '\(address)': \(errno)"
        case .terminal(let errno): "cannot set up the terminal: \(errno)"
        case .eventLoop(let errno): "cannot watch a character device: \(errno)"
        case .alreadyStarted: "the character device is in use already"
        case .chardev(let id, let error): "chardev '\(id)': \(error)"
        }
    }
}
