internal import AddressSpace
internal import Glibc
internal import LinuxSys

/// A virtio socket device (virtio 1.2, section 5.10) for hosts without vhost: stream sockets of the guest meet unix sockets of the host, in the way that Firecracker and
/// Cloud Hypervisor have it. A program of the host connects to `path` and writes `CONNECT 52`; the guest's connections to port 52 of CID 2 go to `path_52`.
///
/// Everything happens on the transport's loop, under the device's lock; no call waits. Data goes from the guest's buffers straight into the host's socket and back;
/// only what that socket does not take is kept, as far as the guest was promised, in pages that go with it. What the guest is to be told is never queued: it follows
/// from the connections' state.
public final class VirtioVsock: VirtioDevice {
    /// The host's address (virtio 1.2, section 5.10.4).
    static let hostCID: UInt64 = 2
    public static let guestCIDs: ClosedRange<UInt64> = 3...0xffff_fffe
    /// As many as Firecracker has, where the process may open as many descriptors.
    static let maximumConnections = 1023
    /// What a wake is for, in each direction; what is left waits for its turn on the event loop (the class of Firecracker issue 5260).
    static let packetsPerWake = 128
    static let bytesPerWake = 1 << 20
    /// Packets after which the driver is shown what it gets back.
    static let packetsPerPublish = 32
    static let queueSize: UInt16 = 256
    /// Bytes in one packet to the guest: what Linux's own transport sends at most.
    static let largestPacket = 64 << 10
    /// Nanoseconds for the line by which a program begins, for the guest's answer to a request, and for its answer to the end of a connection.
    static let patience: UInt64 = 2_000_000_000
    private static let dataQueues: Range<Int> = 0..<2

    /// What exists between activation and reset.
    final class Session {
        let receive: SplitQueue?
        let transmit: SplitQueue?
        let interrupt: VirtioInterrupt
        /// Keeps guest RAM mapped.
        let memory: GuestMemory
        let chain = DescriptorChain(maximumLength: Int(VirtioVsock.queueSize))
        let vectors = VsockVectors(capacity: Int(VirtioVsock.queueSize))
        /// A header on its way in or out.
        var header = [UInt8](repeating: 0, count: VsockHeader.size)
        /// Nothing is taken from the guest until it takes the resets that wait.
        var isHeld = false
        /// The driver has ruined a queue.
        var isBroken = false

        init(_ session: VirtioSession) {
            let queues = session.queues
            receive = queues.count > 0 ? queues[0] : nil
            transmit = queues.count > 1 ? queues[1] : nil
            interrupt = session.interrupt
            memory = session.memory
        }

        func publish(_ queue: SplitQueue?) {
            if queue?.publish() == true { interrupt.raise(VirtioInterrupt.usedBuffer) }
        }
    }

    public let deviceType: UInt32 = 19
    public let features = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex
    public let queueSizes: [UInt16] = [queueSize, queueSize, queueSize]
    /// None while the machine is paused: what comes from outside waits outside.
    public var eventSources: [Int32] { pauseStart == nil ? [events.raw] : [] }
    public internal(set) var droppedRequests: UInt64 = 0

    public let guestCID: UInt64
    let patience: UInt64
    let listener: VsockListener
    let events: EventSet
    let timer: TimerFD
    var table: VsockTable
    var turns: VsockTurns
    var resets = VsockResets()
    var session: Session?
    /// When the timer expires (CLOCK_MONOTONIC); 0: it does not.
    var timerDeadline: UInt64 = 0
    /// The listener is not watched until then: the process was out of descriptors.
    var listenerRest: UInt64 = 0
    var isListening = true
    private var pauseStart: UInt64?

    /// Listens on `path`, which must leave room for a port (`VsockListener.longestPath`); the file is removed with the device.
    public static func listen(guestCID: UInt64, path: String) throws(VirtioVsockError) -> VirtioVsock {
        // Connections take descriptors by the guest's will: as many again are for the rest of the program.
        let descriptors = DescriptorLimit.raise(to: 4 * (maximumConnections + 1))
        return try VirtioVsock(guestCID: guestCID, path: path, maximumConnections: min(maximumConnections, descriptors / 2))
    }

    init(guestCID: UInt64, path: String, maximumConnections: Int, patience: UInt64 = VirtioVsock.patience) throws(VirtioVsockError) {
        guard Self.guestCIDs.contains(guestCID) else { throw .badCID(guestCID) }
        do throws(Errno) { listener = try VsockListener(path: path) } catch { throw .cannotListen(path: path, error) }
        do throws(Errno) {
            events = try EventSet()
            timer = try TimerFD()
            try events.add(listener.raw, .readable, token: Self.listenerToken)
            try events.add(timer.raw, .readable, token: Self.timerToken)
        } catch { throw .events(error) }
        self.guestCID = guestCID
        self.patience = patience
        table = VsockTable(limit: maximumConnections)
        turns = VsockTurns(capacity: table.limit)
    }

    /// Virtio 1.2, section 5.10.4: the CID, 64 bits.
    public func readConfig(offset: Int, size: Int) -> UInt64 {
        ConfigurationSpace.read(offset: offset, size: size) { $0 < 8 ? UInt8(truncatingIfNeeded: guestCID >> UInt64(8 * $0)) : 0 }
    }

    /// Nothing is writable.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    // MARK: Life

    public func activate(_ session: VirtioSession) {
        self.session = Session(session)
        // Programs of the host that came before the guest's driver was there.
        table.forEach { schedule($0) }
    }

    public func queueNotified(_ index: Int) -> ServiceResult {
        Self.dataQueues.contains(index) ? serve(takes: index == 1) : .idle
    }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        guard descriptor == events.raw, pauseStart == nil else { return .idle }
        events.take { token, events in hostEvent(token, events) }
        return serve(takes: false)
    }

    /// Both directions: what the guest sent (`takes`) is answered, and what waits for it is given.
    private func serve(takes: Bool) -> ServiceResult {
        guard pauseStart == nil, let session, !session.isBroken else { return .idle }
        defer {
            session.publish(session.transmit)
            session.publish(session.receive)
        }
        do throws(QueueFault) {
            var result = takes || session.isHeld ? try takePackets(session) : .idle
            result = result.joined(try givePackets(session))
            return session.isHeld && resets.hasRoom ? .again : result
        } catch {
            session.isBroken = true
            return .fault(.needsReset(error))
        }
    }

    /// Nothing is ever in flight: what a socket has taken is the host's.
    public func drain() -> ServiceResult { .idle }

    /// The guest begins anew: connections that it knew are over, for the host too. What it sent before it left and the host has not read, and programs that wait for a
    /// driver, stay.
    public func reset() {
        session = nil
        resets.removeAll()
        var known: [VsockConnection] = []
        table.forEach { if $0.isKnownToGuest { known.append($0) } }
        for connection in known { remove(connection) }
    }

    /// A paused machine: neither side gets anything from the other, and nobody's patience ends. Inside `VirtioMMIODevice.update`.
    public func setPaused(_ on: Bool) {
        let now = Clock.monotonicNanoseconds()
        guard on != (pauseStart != nil) else { return }
        if let start = pauseStart {
            table.forEach { if $0.deadline != 0 { $0.deadline &+= now &- start } }
            pauseStart = nil
        } else {
            pauseStart = now
        }
    }
}
