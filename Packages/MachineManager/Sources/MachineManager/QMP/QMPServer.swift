public import LinuxSys
internal import Synchronization

/// Why QMP cannot listen.
public enum QMPServerError: Error, Equatable, Sendable, CustomStringConvertible {
    case cannotListen(address: String, Errno)

    public var description: String {
        switch self {
        case .cannotListen(let address, .addressInUse): "QMP cannot listen on '\(address)': it is in use"
        case .cannotListen(let address, let error): "QMP cannot listen on '\(address)': \(error)"
        }
    }
}

/// The QMP server: QEMU's machine protocol on unix and TCP sockets, JSON lines that end in CR LF.
///
/// It keeps the machine alive until `close`. `emit` may be called on any thread, the rest on the event loop's thread or while the loop does not run.
public final class QMPServer: MachineEventSink, Sendable {
    private struct Endpoint: Sendable {
        let listener: QMPListener
        /// The socket file's registration for removal at exit.
        let exitPath: ExitActions.Path?
    }

    /// Events that no connection has taken yet.
    private struct Inbox: Sendable {
        var lines: [[UInt8]] = []
        var isPosted = false
    }

    private let loop: EventLoop
    private let dispatcher: QMPDispatcher
    private let endpoints = Mutex<[Endpoint]>([])
    private let inbox = Mutex(Inbox())
    /// What clients cost the program's memory.
    private struct Housekeeping: Sendable {
        var hasServed = false
        /// Whether giving back memory is due.
        var isTidying = false
    }
    private let housekeeping = Mutex(Housekeeping())
    /// After this time the pages of the program that commands touched are given back: they are many times what their code is long.
    private static let tidyingDelay: UInt64 = 1_000_000_000

    private let rate: QMPRateLimit

    public convenience init(loop: EventLoop, control: any MachineControl) {
        self.init(loop: loop, control: control, commandsPerSecond: QMPRateLimit.standard)
    }

    /// `commandsPerSecond` of 0: no limit.
    init(loop: EventLoop, control: any MachineControl, commandsPerSecond: UInt64) {
        self.loop = loop
        dispatcher = QMPDispatcher(control: control, descriptors: QMPDescriptors())
        rate = QMPRateLimit(perSecond: commandsPerSecond)
    }

    /// Listens on one more address; clients are served once the loop runs. A socket file that nobody listens on is replaced; the new one has mode 0600
    /// and is removed by `close`, or else at the end of the process. Gives the port of a TCP address.
    @discardableResult
    public func listen(on address: VmConfig.MonitorAddress) throws(QMPServerError) -> UInt16? {
        do {
            switch address {
            case .unix(let path):
                try serve(StreamSocket.listenReplacingStale(path: path), path: path)
                return nil
            case .tcp(let host, let port):
                let socket = try StreamSocket.listen(host: host, port: port)
                let port = try StreamSocket.port(of: socket)
                try serve(socket, path: nil)
                return port
            }
        } catch {
            throw .cannotListen(address: address.description, error)
        }
    }

    private func serve(_ socket: consuming OwnedFD, path: String?) throws(Errno) {
        var exitPath: ExitActions.Path?
        if let path {
            do throws(Errno) { exitPath = try ExitActions.remove(path: path) } catch {
                try? SysFile.remove(path)
                throw error
            }
        }
        do throws(Errno) {
            let listener = try QMPListener(socket, loop: loop, dispatcher: dispatcher, rate: rate) { [weak self] in self?.clientWasServed() }
            endpoints.withLock { $0.append(Endpoint(listener: listener, exitPath: exitPath)) }
        } catch {
            if let exitPath { ExitActions.removeNow(exitPath) }
            throw error
        }
    }

    /// Tells every connected client of an event. A client that has not sent a command yet gets it after the answer to its first one, and a command's own
    /// events come after its answer.
    public func emit(_ event: MachineEvent) {
        var line: [UInt8] = []
        QMPAnswers.event(event, realtimeNanoseconds: Clock.realtimeNanoseconds()).write(to: &line)
        line += "\r\n".utf8
        let mustPost = inbox.withLock { inbox in
            if inbox.lines.count >= QMPConnection.eventLimit { inbox.lines.removeFirst() }
            inbox.lines.append(line)
            let mustPost = !inbox.isPosted
            inbox.isPosted = true
            return mustPost
        }
        // At most one call waits in the loop, however fast a guest causes events.
        if mustPost { loop.post { [weak self] in self?.takePost() } }
    }

    private func clientWasServed() {
        deliverEvents()
        let (isFirst, isDue) = housekeeping.withLock { state in
            defer { state = Housekeeping(hasServed: true, isTidying: true) }
            return (!state.hasServed, !state.isTidying)
        }
        if isFirst {
            // Behind the greeting, which would wait for it; so what the first commands were given goes again.
            loop.post {
                ProgramMemory.limitFaultAround()
                ProgramMemory.releaseStartupPages()
            }
        }
        guard isDue else { return }
        loop.after(nanoseconds: Self.tidyingDelay) { [weak self] in
            self?.housekeeping.withLock { $0.isTidying = false }
            ProgramMemory.releaseStartupPages()
        }
    }

    private func takePost() {
        inbox.withLock { $0.isPosted = false }
        deliverEvents()
    }

    private func deliverEvents() {
        let lines = inbox.withLock { inbox in
            let lines = inbox.lines
            inbox.lines = []
            return lines
        }
        guard !lines.isEmpty else { return }
        for endpoint in endpoints.withLock({ $0 }) { endpoint.listener.deliver(lines) }
    }

    /// Waits until every client has received its answers and events, but no longer than `nanoseconds`; false when something is left. For the end of the
    /// process, after the loop has stopped.
    @discardableResult
    public func flush(nanoseconds: UInt64) -> Bool {
        deliverEvents()
        let listeners = endpoints.withLock { $0.map(\.listener) }
        let start = Clock.monotonicNanoseconds()
        while true {
            var isDone = true
            for listener in listeners where !listener.flush() { isDone = false }
            if isDone { return true }
            guard Clock.monotonicNanoseconds() &- start < nanoseconds else { return false }
            Clock.sleep(nanoseconds: 1_000_000)
        }
    }

    /// Hangs up on every client, stops listening and removes the socket files.
    public func close() {
        let old = endpoints.withLock { endpoints in
            let old = endpoints
            endpoints = []
            return old
        }
        for endpoint in old {
            endpoint.listener.close()
            if let exitPath = endpoint.exitPath { ExitActions.removeNow(exitPath) }
        }
    }
}

extension VmConfig.MonitorAddress: CustomStringConvertible {
    /// As on the command line.
    public var description: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port): "tcp:\(host):\(port)"
        }
    }
}
