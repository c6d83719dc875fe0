public import LinuxSys

/// A new pseudo-terminal as a character device; any terminal program may open `path`.
///
/// Output that nobody reads fills the kernel's buffer, where a client that comes later finds it, and is then dropped and counted.
public final class PtyBackend: CharBackend {
    /// For example "/dev/pts/3".
    public let path: String
    private let stream: CharStream
    /// Held open: without any opener the kernel reports a hang-up on the other end over and over.
    private let terminal: OwnedFD

    /// Opens the pseudo-terminal; `path` is then there for the user.
    public init() throws(CharBackendError) {
        stream = try CharStream(patience: 0)
        do throws(Errno) {
            let pty = try PseudoTerminal()
            path = pty.path
            terminal = try SysFile.open(pty.path, [.readWrite, .noControllingTerminal, .nonBlocking])
            // The line discipline would echo the guest's output back to it as input.
            try Terminal.disableProcessing(terminal)
            stream.attach(CharConnection(duplex: try pty.controller.duplicate(), isSocket: false))
        } catch { throw .cannotOpen(path: "/dev/ptmx", error) }
    }

    public var isConnected: Bool { true }
    public var droppedBytes: UInt64 { stream.droppedBytes }
    public var filename: String { "pty:\(path)" }
    public var terminalPath: String? { path }

    public func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError) {
        try stream.start(on: loop, client: client)
        stream.watch()
    }

    public func send(_ byte: UInt8) -> Bool { stream.send(byte) }
    /// Never waits for ever: a pseudo-terminal does not tell whether anybody reads it at all.
    public func send(_ bytes: Span<UInt8>, _ loss: OutputLoss) -> Int { stream.send(bytes, .allowed) }
    public func resumeReceiving() { stream.resumeReceiving() }
    public func stop() { stream.stop() }
}
