public import LinuxSys

/// The host's end of a character device: a terminal, a pty, a socket, a file.
///
/// The peer is not trusted: it may flood, hang up at any moment or never read. Memory stays bounded and the guest runs on.
public protocol CharBackend: AnyObject, Sendable {
    /// Begins to move bytes between the host and `client` on the loop's thread. Once.
    func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError)

    /// Queues a byte for the host; never blocks, any thread. False: fewer than 16 bytes fit now, and
    /// `CharBackendClient.transmitReady` follows. What is sent against that advice may be dropped and counted.
    func send(_ byte: UInt8) -> Bool

    /// The client has room again after `receiveRoom` gave 0. Any thread; cheap when nothing waits.
    func resumeReceiving()

    /// Writes out what is queued, within a fifth of a second, and stops. The loop's thread, or any after the loop has ended.
    func stop()

    /// Bytes that the host did not take and that were dropped. Any thread.
    var droppedBytes: UInt64 { get }
}

/// The device in front of a backend. All are called on the loop's thread, never with a lock of the backend held.
public protocol CharBackendClient: AnyObject, Sendable {
    /// Bytes that `receive` will take now; 0 stops reading until `resumeReceiving`.
    func receiveRoom() -> Int
    /// At most as many bytes as `receiveRoom` last gave.
    func receive(_ bytes: ArraySlice<UInt8>)
    /// At least 16 bytes fit again after `send` gave false.
    func transmitReady()
}

public enum CharBackendError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The path of a file, socket or pseudo-terminal could not be opened.
    case cannotOpen(path: String, Errno)
    case cannotListen(path: String, Errno)
    case terminal(Errno)
    case eventLoop(Errno)
    case alreadyStarted

    public var description: String {
        switch self {
        case .cannotOpen(let path, let errno): "cannot open \(path): \(errno)"
        case .cannotListen(let path, let errno): "cannot listen on \(path): \(errno)"
        case .terminal(let errno): "cannot set up the terminal: \(errno)"
        case .eventLoop(let errno): "cannot watch a character device: \(errno)"
        case .alreadyStarted: "the character device is in use already"
        }
    }
}
