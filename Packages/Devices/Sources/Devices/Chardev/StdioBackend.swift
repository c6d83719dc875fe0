public import LinuxSys
internal import Synchronization

/// Standard input and output as a character device.
///
/// A terminal on standard input goes into raw mode, Ctrl-C included, which goes to the guest; it is restored by `stop` and on
/// every way out of the process. Pipes, files and /dev/null work too; the end of input only ends input.
///
/// Output is lossless as long as the reader takes anything within a second; after that the guest's output is dropped and
/// counted until the reader goes on, so that a paused pager does not freeze the guest's console for ever. The process must
/// ignore SIGPIPE, as it does once LinuxSys handles its signals.
public final class StdioBackend: CharBackend {
    private static let patience: UInt64 = 1_000_000_000
    private let stream: CharStream
    private let rawTerminal = Mutex<Int32?>(nil)

    public init() throws(CharBackendError) { stream = try CharStream(patience: Self.patience) }

    public var isConnected: Bool { true }
    public var droppedBytes: UInt64 { stream.droppedBytes }
    public var filename: String { "stdio" }

    public func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError) {
        if Terminal.isTerminal(0) {
            do throws(Errno) { try Terminal.makeRaw(0) } catch { throw .terminal(error) }
            rawTerminal.withLock { $0 = 0 }
        }
        try stream.start(on: loop, client: client)
        do throws(Errno) {
            let input = try StandardStream(0, .readOnly)
            let output = try StandardStream(1, .writeOnly)
            let isSocket = output.kind == .socket
            let largestWrite = output.kind == .characterDevice ? 256 : 4096
            stream.attach(
                CharConnection(
                    input: input.take(), output: output.take(), isSocket: isSocket, largestWrite: largestWrite))
        } catch { throw .terminal(error) }
    }

    public func send(_ byte: UInt8) -> Bool { stream.send(byte) }
    public func send(_ bytes: Span<UInt8>, _ loss: OutputLoss) -> Int { stream.send(bytes, loss) }
    public func resumeReceiving() { stream.resumeReceiving() }

    public func stop() {
        stream.stop()
        rawTerminal.withLock { terminal in
            if let descriptor = terminal { Terminal.restore(descriptor) }
            terminal = nil
        }
    }
}

/// A standard stream as a descriptor of our own, none when it is closed. Pipes and terminals are opened anew, because
/// O_NONBLOCK on the shared open file would outlive us in the shell; where that is refused the stream may block, but is
/// only used when it polls ready. Files keep their shared offset.
private struct StandardStream: ~Copyable {
    private let file: OwnedFD?
    let kind: FileStatus.Kind

    /// Throws when no descriptor is left: a guest's console must not vanish without a word.
    init(_ number: Int32, _ flags: OpenFlags) throws(Errno) {
        let shared = OwnedFD(adopting: number)
        let duplicate: Result<Int32, Errno>
        do throws(Errno) { duplicate = .success(try shared.duplicate().take()) } catch { duplicate = .failure(error) }
        let kind = (try? SysFile.status(of: shared))?.kind ?? .other
        _ = shared.take()  // stays open: it is the process's
        self.kind = kind
        var file: OwnedFD?
        switch duplicate {
        case .success(let raw): file = OwnedFD(adopting: raw)
        case .failure(.badDescriptor): file = nil
        case .failure(let error): throw error
        }
        if kind == .fifo || kind == .characterDevice,
            let own = try? SysFile.open("/proc/self/fd/\(number)", [flags, .nonBlocking, .noControllingTerminal])
        {
            file = consume own
        }
        self.file = file
    }

    consuming func take() -> OwnedFD? { file }
}
