public import LinuxSys

/// A file that takes the output; there is no input.
///
/// The file is made with mode 0600, or truncated. A full disk loses output, which is counted, and nothing else.
public final class FileBackend: CharBackend {
    private let stream: CharStream

    /// Opens the file. A FIFO needs a reader at this moment (ENXIO), and is then treated like standard output.
    public init(path: String) throws(CharBackendError) {
        stream = try CharStream(patience: 1_000_000_000)
        do throws(Errno) {
            let file = try SysFile.open(path, [.writeOnly, .create, .truncate, .nonBlocking, .noControllingTerminal])
            stream.attach(CharConnection(input: nil, output: file))
        } catch { throw .cannotOpen(path: path, error) }
    }

    public var isConnected: Bool { true }
    public var droppedBytes: UInt64 { stream.droppedBytes }
    public var filename: String { "file" }

    public func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError) {
        try stream.start(on: loop, client: client)
        stream.watch()
    }

    public func send(_ byte: UInt8) -> Bool { stream.send(byte) }
    public func send(_ bytes: Span<UInt8>, _ loss: OutputLoss) -> Int { stream.send(bytes, loss) }
    public func resumeReceiving() { stream.resumeReceiving() }
    public func stop() { stream.stop() }
}
