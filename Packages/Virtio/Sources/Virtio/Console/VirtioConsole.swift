internal import AddressSpace
internal import Devices
internal import LinuxSys

/// A virtio console device (virtio 1.2, section 5.3) with up to 31 ports, each in front of a `CharBackend`.
///
/// Output is copied from the guest's buffers to the back end; what it cannot take yet stays in the queue, and the guest waits. A console
/// does not wait for ever (`OutputLoss.allowed`): Linux's hvc driver waits with its processor. Input waits in a ring of 4 KiB until
/// the guest has buffers and has opened the port; meanwhile the back end does not read.
///
/// The size of a terminal is not sent: Linux before 6.15 has columns and rows of the RESIZE message the other way round than section 5.3.6.2, and a device cannot tell.
public final class VirtioConsole: VirtioDevice {
    static let portQueueSize: UInt16 = 128
    static let controlQueueSize: UInt16 = 32
    /// Bytes of output copied before the others on the event loop have their turn (the class of Firecracker issue 5260).
    static let outputBudget = 64 << 10
    /// Bytes copied at a time.
    static let pieceSize = 4096

    /// What exists between activation and reset.
    struct Session {
        let queues: [SplitQueue?]
        let interrupt: VirtioInterrupt
        let isMultiport: Bool
        /// Keeps guest RAM mapped.
        let memory: GuestMemory

        func queue(_ queue: ConsoleQueue) -> SplitQueue? { queue.index < queues.count ? queues[queue.index] : nil }

        func publish(_ queue: SplitQueue) {
            if queue.publish() { interrupt.raise(VirtioInterrupt.usedBuffer) }
        }
    }

    public let deviceType: UInt32 = 3
    public let features = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | ConsoleFeature.size | ConsoleFeature.multiport
    public let queueSizes: [UInt16]
    public var eventSources: [Int32] { [host.wake.raw] }
    public internal(set) var droppedRequests: UInt64 = 0

    /// The back ends; start them before the guest runs.
    public let host: ConsoleHost
    /// Only those that are configured, by number.
    let ports: [ConsolePortState]
    let portCount: Int
    let chain = DescriptorChain(maximumLength: Int(VirtioConsole.portQueueSize))
    /// Bytes on their way out, always `pieceSize`, and on their way in. Kept: nothing is allocated per buffer.
    var piece: [UInt8] = []
    var incoming: [UInt8] = []
    var session: Session?

    /// `maximumPorts` is the user's limit, 1...31; the guest is told of as many as there really are, since each costs two queues.
    public init(ports: [ConsolePort], maximumPorts: Int = ConsolePort.maximumPorts) throws(ConsoleError) {
        let numbers = try ConsolePort.numbers(ports, maximum: maximumPorts)
        let host: ConsoleHost
        do throws(Errno) { host = try ConsoleHost(ports.map(\.backend)) } catch { throw .host(error) }
        self.host = host
        self.ports = ports.indices.map { ConsolePortState(ports[$0], number: numbers[$0], link: host.links[$0]) }.sorted { $0.number < $1.number }
        portCount = (numbers.max() ?? 0) + 1
        queueSizes = (0..<ConsoleQueue.count(ports: portCount)).map { index in
            switch ConsoleQueue(index: index) {
            case .receive, .transmit: Self.portQueueSize
            case .controlReceive, .controlTransmit: Self.controlQueueSize
            }
        }
    }

    // MARK: Configuration space (section 5.3.4): cols, rows, max_nr_ports, emerg_wr

    public func readConfig(offset: Int, size: Int) -> UInt64 {
        // 0 columns and rows: not known, programs in the guest use what they take for usual.
        ConfigurationSpace.read(offset: offset, size: size) { $0 == 4 ? UInt8(truncatingIfNeeded: portCount) : 0 }
    }

    /// `emerg_wr` belongs to EMERG_WRITE, which is not offered.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    // MARK: Life

    public func activate(_ session: VirtioSession) {
        self.session = Session(
            queues: session.queues, interrupt: session.interrupt, isMultiport: session.features & ConsoleFeature.multiport != 0, memory: session.memory)
        if piece.isEmpty {
            piece = [UInt8](repeating: 0, count: Self.pieceSize)
            incoming.reserveCapacity(ConsoleLink.inputCapacity)
        }
    }

    /// Nothing is ever in flight: what the back end has taken is the host's.
    public func drain() -> ServiceResult { .idle }

    public func reset() {
        session = nil
        for port in ports { port.reset() }
    }

    public func queueNotified(_ index: Int) -> ServiceResult {
        guard let session else { return .idle }
        switch ConsoleQueue(index: index) {
        case .receive(let number): return port(number).map { sendInput(of: $0, session) } ?? .idle
        case .transmit(let number): return takeOutput(of: port(number), number, session)
        case .controlReceive: return sendMessages(session)
        case .controlTransmit: return takeMessages(session)
        }
    }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        host.wake.drain()
        var result = ServiceResult.idle
        for port in ports {
            let events = port.link.takeEvents()
            guard !events.isEmpty, let session else { continue }
            if events.contains(.input) { result = result.joined(sendInput(of: port, session)) }
            if events.contains(.output) { result = result.joined(takeOutput(of: port, port.number, session)) }
            if events.contains(.peer) { result = result.joined(peerChanged(port, session)) }
        }
        return result
    }

    func port(_ number: Int) -> ConsolePortState? { ports.first { $0.number == number } }
}

extension ServiceResult {
    /// The more urgent of two.
    func joined(_ other: ServiceResult) -> ServiceResult {
        switch (self, other) {
        case (.fault(.needsReset), _): self
        case (_, .fault(.needsReset)): other
        case (.again, _), (_, .again): .again
        default: self
        }
    }
}
