internal import CTap
internal import Glibc
internal import LinuxSys
internal import Synchronization

/// The sending half of a queue pair: the driver's packets to the back end, on a loop of its own choice. Locks as in `NetReceiver`.
final class NetTransmitter: @unchecked Sendable {
    /// Packets per wake; what is left waits for its turn on the event loop (the class of Firecracker issue 5260).
    static let packetsPerWake = 256
    /// Packets after which the driver is shown what it gets back, so that it can go on filling its queue.
    static let packetsPerPublish = 64

    /// What exists while the driver's queue is served.
    final class Live {
        let queue: SplitQueue
        let notification: EventFD
        /// Keeps guest RAM mapped.
        let session: VirtioSession
        let chain: DescriptorChain
        let packet = TransmitPacket()
        /// Made for the first frame that goes into a stream.
        private(set) lazy var batch = TransmitBatch()
        var isBroken = false

        init(_ session: VirtioSession, queue: SplitQueue, notification: EventFD, maximumChain: Int) {
            self.session = session
            self.queue = queue
            self.notification = notification
            chain = DescriptorChain(maximumLength: maximumChain)
        }
    }

    enum Carrier {
        /// An empty slot, or the link is down: packets go nowhere, and their buffers back to the driver.
        case none
        /// Not one of the pairs that the driver uses: the queue is left alone.
        case idle
        case port(NetPort)
    }

    /// Its index within the device.
    let queue: Int
    let loop: EventLoop
    private let lock = Mutex(())
    // Guarded by `lock`, as is all that follows except the counters.
    private var live: Live?
    private var carrier = Carrier.none
    /// The port takes no more now; its descriptor is watched until it does.
    private var isBlocked = false
    private lazy var onWritable = EventLoop.Callback { [weak self] _ in self?.writable() }
    var hasIdleTimer = false

    /// Packets without a whole header or frame, too large, in too many pieces, or of a kind that was not negotiated; packets that the host refused. They wrap.
    let malformedPackets = Atomic<UInt64>(0)
    let refusedPackets = Atomic<UInt64>(0)

    init(queue: Int, loop: EventLoop) {
        self.queue = queue
        self.loop = loop
    }

    // MARK: Called under the transport's lock

    /// Serves the queue from now on. The transport watches its notification no more.
    func start(_ session: VirtioSession, queue: SplitQueue, notification: EventFD, maximumChain: Int) throws(Errno) {
        try lock.withLock { _ throws(Errno) in
            try loop.add(notification.raw, .readable) { [self] _ in notified() }
            live = Live(session, queue: queue, notification: notification, maximumChain: maximumChain)
        }
    }

    /// When it returns, neither rings nor guest memory are touched any more.
    func stop() {
        lock.withLock { _ in
            guard let live else { return }
            loop.remove(live.notification.raw)
            unblock()
            self.live = nil
        }
    }

    func set(_ carrier: Carrier) {
        lock.withLock { _ in
            // Before the old one is closed: its number may be another's right after.
            unblock()
            if case .port(.stream(let stream)) = self.carrier { stream.writer.releaseIfEmpty() }
            self.carrier = carrier
            live?.notification.signal()
        }
    }

    /// Serves what the driver has queued, on the calling thread, for a paused machine. Ends at the latest after the queue's size.
    func drain() {
        lock.withLock { _ in
            guard let live, !isBlocked else { return }
            for _ in 0...(Int(live.queue.size) / Self.packetsPerWake) {
                guard serve(live) else { return }
            }
        }
    }

    // MARK: On the loop's thread

    private func notified() {
        lock.withLock { _ in
            guard let live else { return }
            let count = live.notification.drain()
            live.queue.counters.notifications.add(count)
            Trace.emit(.virtioNotify, live.session.interrupt.device, UInt64(queue), count)
            // The port's descriptor says when it goes on.
            if !isBlocked, serve(live) { live.notification.signal() }
        }
    }

    private func writable() {
        lock.withLock { _ in
            guard isBlocked, let live else { return }
            unblock()
            if serve(live) { live.notification.signal() }
        }
    }

    func idleTimerFired(_ stream: FrameStream?, uses: UInt64) {
        lock.withLock { _ in
            hasIdleTimer = false
            if case .port(.stream(let current)) = carrier { idled(stream, uses: uses, current) }
        }
    }

    // MARK: Under the lock

    /// True when there is more, and others come first.
    private func serve(_ live: Live) -> Bool {
        guard !live.isBroken else { return false }
        if case .idle = carrier { return false }
        do throws(QueueFault) {
            let before = live.queue.counters.requests.value
            let isAgain = if case .port(.stream(let stream)) = carrier { try moveFrames(live, stream) } else { try move(live) }
            publish(live)
            let count = live.queue.counters.requests.value &- before
            if count > 0 { Trace.emit(.netTransmit, live.session.interrupt.device, count) }
            return isAgain
        } catch {
            live.isBroken = true
            live.session.requestReset(error)
            return false
        }
    }

    private func move(_ live: Live) throws(QueueFault) -> Bool {
        live.queue.disableNotifications()
        var left = Self.packetsPerWake
        while left > 0 {
            guard try live.queue.pop(into: live.chain) else {
                // What came since is served before anything is waited for.
                if try live.queue.enableNotifications() {
                    live.queue.disableNotifications()
                    left &-= 1
                    continue
                }
                return false
            }
            left &-= 1
            guard send(live) else {
                // Walked and checked again when the tap takes more.
                live.queue.undoPop()
                return false
            }
            live.queue.push(head: live.chain.head, written: 0)
            if left % Self.packetsPerPublish == 0 { publish(live) }
        }
        return true
    }

    /// False when the tap takes nothing now. What makes no sense is dropped and counted, and its buffers go back.
    private func send(_ live: Live) -> Bool {
        guard case .port(.tap(let tap)) = carrier else { return true }
        guard live.packet.prepare(live.chain, features: live.session.features) else {
            malformedPackets.wrappingAdd(1, ordering: .relaxed)
            return true
        }
        let result = live.packet.write(to: tap)
        if result >= 0 { return true }
        if result == -Int(EAGAIN), block() { return false }
        // An interface that is down, or a packet that the kernel takes for nonsense: lost, as on a wire.
        refusedPackets.wrappingAdd(1, ordering: .relaxed)
        return true
    }

    func publish(_ live: Live) {
        if live.queue.publish() { live.session.interrupt.raise(VirtioInterrupt.usedBuffer) }
    }

    // MARK: A port that is full

    /// False when nobody would tell that it takes more.
    func block() -> Bool {
        guard case .port(let port) = carrier else { return false }
        do throws(Errno) { try loop.add(port.transmitDescriptor, .writable, calling: onWritable) } catch { return false }
        isBlocked = true
        return true
    }

    private func unblock() {
        guard isBlocked, case .port(let port) = carrier else { return }
        loop.remove(port.transmitDescriptor)
        isBlocked = false
    }
}

/// A packet on its way to the tap: a copy of the header, which the driver cannot change any more, and the frame in the driver's buffers.
@safe
final class TransmitPacket {
    /// Pieces of a frame; one of the kernel's limit is for the header.
    static let pieceLimit = Int(CTAP_VECTOR_LIMIT) - 1

    // SAFETY: allocated for the object's life; `count` vectors are initialized, the first with the header, the others by DescriptorChain.fill with guest RAM that it has
    // checked.
    private let vectors: UnsafeMutablePointer<iovec>
    private let header: UnsafeMutableRawPointer
    private var count = 0

    init() {
        unsafe vectors = .allocate(capacity: Self.pieceLimit + 1)
        unsafe header = .allocate(byteCount: NetHeader.size, alignment: 8)
    }

    deinit {
        unsafe vectors.deallocate()
        unsafe header.deallocate()
    }

    /// False for a chain that is no packet, or one that may not be sent.
    func prepare(_ chain: DescriptorChain, features: UInt64) -> Bool {
        guard let wanted = NetHeader(of: chain, features: features) else { return false }
        let size = chain.readableBytes
        let skip = UInt64(NetHeader.size)
        let pieces = chain.segmentCount(.readable, skip: skip, length: size - skip)
        guard pieces <= Self.pieceLimit else { return false }
        unsafe header.storeBytes(of: wanted.low.littleEndian, as: UInt64.self)
        unsafe header.storeBytes(of: wanted.high.littleEndian, toByteOffset: 8, as: UInt32.self)
        unsafe vectors.initialize(to: iovec(iov_base: header, iov_len: NetHeader.size))
        // SAFETY: room for `pieces` behind the first.
        unsafe chain.fill(vectors + 1, .readable, skip: skip, length: size - skip)
        count = pieces + 1
        return true
    }

    /// What the call returned, or -errno.
    func write(to tap: TapQueue) -> Int { unsafe tap.write(vectors, count) }
}
