public import LinuxSys
internal import Synchronization

/// Standard input and output as a character device.
///
/// A terminal on standard input goes into raw mode, Ctrl-C included, which goes to the guest; it is restored by `stop` and on
/// every way out of the process. Pipes, files and /dev/null work too; the end of input only ends input.
///
/// Output is lossless as long as the reader takes anything within a second; after that the guest's output is dropped and
/// counted until the reader goes on, so that a paused pager does not freeze the guest's console for ever.
public final class StdioBackend: CharBackend {
    private static let patience: UInt64 = 1_000_000_000
    private let stream: CharStream
    private let rawTerminal = Mutex<Int32?>(nil)

    public init() throws(CharBackendError) { stream = try CharStream(patience: Self.patience) }

    public var droppedBytes: UInt64 { stream.droppedBytes }

    public func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError) {
        if Terminal.isTerminal(0) {
            do throws(Errno) { try Terminal.makeRaw(0) } catch { throw .terminal(error) }
            rawTerminal.withLock { $0 = 0 }
        }
        try stream.start(on: loop, client: client)
        let (input, _) = Self.open(0, .readOnly)
        let (output, kind) = Self.open(1, .writeOnly)
        stream.attach(
            CharConnection(
                input: input, output: output, isSocket: kind == .socket,
                largestWrite: kind == .characterDevice ? 256 : 4096))
    }

    public func send(_ byte: UInt8) -> Bool { stream.send(byte) }
    public func resumeReceiving() { stream.resumeReceiving() }

    public func stop() {
        stream.stop()
        rawTerminal.withLock { terminal in
            if let descriptor = terminal { Terminal.restore(descriptor) }
            terminal = nil
        }
    }

    /// A standard stream as a descriptor of our own, nil when it is closed. Pipes and terminals are opened anew, because
    /// O_NONBLOCK on the shared open file would outlive us in the shell; where that is refused the stream may block, but is
    /// only used when it polls ready. Files keep their shared offset.
    private static func open(_ number: Int32, _ flags: OpenFlags) -> (file: OwnedFD?, kind: FileStatus.Kind) {
        let shared = OwnedFD(adopting: number)
        let status = try? SysFile.status(of: shared)
        let duplicate = try? shared.duplicate()
        _ = shared.take()
        guard let status, let duplicate else { return (nil, .other) }
        if status.kind == .fifo || status.kind == .characterDevice,
            let own = try? SysFile.open("/proc/self/fd/\(number)", [flags, .nonBlocking, .noControllingTerminal])
        {
            return (own, status.kind)
        }
        return (duplicate, status.kind)
    }
}
