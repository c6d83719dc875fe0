internal import Glibc
internal import LinuxSys
internal import Synchronization

/// The receiving half of a queue pair: packets from the back end into the driver's buffers, on a loop of its own choice.
///
/// Order of locks: the transport's, this one's, the loop's. Whoever holds this one asks nothing of the transport but `SessionControl`. Everything that touches
/// guest memory happens under it, so nothing does once `stop` has returned.
final class NetReceiver: @unchecked Sendable {
    /// Packets per wake. What is left waits for its turn on the event loop.
    static let packetsPerWake = 64
    /// Nanoseconds that a packet waits for the driver to give more buffers, when those it gave are too small for it and it has looked at those it got back.
    static let patience: UInt64 = 100_000_000
    /// Times `patience` that it waits for a driver that has yet to look: the guest's processor may have to wait for the host's. Counted, since this program may have to wait too.
    static let turns = 50
    /// Nanoseconds without data after which a stream's buffer is given back.
    static let idleTime: UInt64 = 1_000_000_000

    /// What exists while the driver's queue is served.
    final class Live {
        let queue: SplitQueue
        let notification: EventFD
        /// Keeps guest RAM mapped (the class of Cloud Hypervisor issue 7955).
        let session: VirtioSession
        let chain: DescriptorChain
        let window: ReceiveWindow
        let isMergeable: Bool
        /// Without GUEST_CSUM the header's flags must be 0 (virtio 1.2, section 5.1.6.4.1); Linux taps say DATA_VALID all the same.
        let keepsFlags: Bool
        /// Bytes of buffers that are taken ahead.
        let lookahead: Int
        /// Size of the packet that waits for more buffers, and how many of its bytes are in buffers, not in the spill. 0: none waits.
        var waiting = 0
        var waitingStart = 0
        /// The driver has ruined the queue; it has been told.
        var isBroken = false

        init(_ session: VirtioSession, queue: SplitQueue, notification: EventFD, maximumChain: Int) {
            self.session = session
            self.queue = queue
            self.notification = notification
            chain = DescriptorChain(maximumLength: maximumChain)
            window = ReceiveWindow(queueSize: Int(queue.size))
            isMergeable = session.features & NetFeature.mergeableBuffers != 0
            keepsFlags = session.features & NetFeature.guestChecksum != 0
            lookahead = session.features & NetFeature.largeReceive != 0 ? NetHeader.maximumPacket : 2048
        }
    }

    enum Watch {
        case none
        /// For errors only: there are no buffers.
        case paused
        case reading
    }

    /// Its index within the device.
    let queue: Int
    let loop: EventLoop
    private let lock = Mutex(())
    // Guarded by `lock`, as is all that follows except the counters.
    var live: Live?
    var port: NetPort?
    var filter: ReceiveFilter
    /// The link is up and the pair is one that the driver uses.
    var isOpen = false
    var watch = Watch.none
    /// The port has failed: nothing more comes from it.
    var isDead = false
    var hasTimer = false
    var hasIdleTimer = false
    /// Number of the packet that waits, so that a late timer leaves a later one alone.
    var waitingNumber: UInt64 = 0

    /// Chains that were no buffers; packets that the guest had no room for, or that were no frames; frames that the driver did not want. They wrap.
    let malformedChains = Atomic<UInt64>(0)
    let droppedPackets = Atomic<UInt64>(0)
    let filteredPackets = Atomic<UInt64>(0)

    init(queue: Int, loop: EventLoop, filter: ReceiveFilter) {
        self.queue = queue
        self.loop = loop
        self.filter = filter
    }

    // MARK: Called under the transport's lock

    /// Serves the queue from now on. The transport watches its notification no more.
    func start(_ session: VirtioSession, queue: SplitQueue, notification: EventFD, maximumChain: Int) throws(Errno) {
        try lock.withLock { _ throws(Errno) in
            try loop.add(notification.raw, .readable) { [self] _ in notified() }
            live = Live(session, queue: queue, notification: notification, maximumChain: maximumChain)
        }
    }

    /// When it returns, neither rings nor guest memory are touched any more. Buffers that were taken ahead are in the queue again.
    func stop() {
        lock.withLock { _ in
            guard let live else { return }
            loop.remove(live.notification.raw)
            unwatch()
            live.queue.undoPops(live.window.bufferCount)
            self.live = nil
        }
    }

    /// `isOpen`: packets may come. A port that is not open is left alone, so that a tap may be taken out of use.
    func set(port: NetPort?, isOpen: Bool) {
        lock.withLock { _ in
            if !NetPort.areSame(self.port, port) {
                // Before the old one is closed: its number may be another's right after.
                unwatch()
                // A frame that waits for buffers is still in the stream; a tap's packet is lost.
                live?.waiting = 0
                if case .stream(let stream)? = self.port { stream.reader.releaseIfEmpty() }
                self.port = port
                isDead = port?.hasFailed ?? false
            }
            if self.isOpen != isOpen {
                self.isOpen = isOpen
                unwatch()
            }
            live?.notification.signal()
        }
    }

    func set(filter: ReceiveFilter) { lock.withLock { _ in self.filter = filter } }

    // MARK: On the loop's thread

    private func notified() {
        serve {
            let count = $0.notification.drain()
            $0.queue.counters.notifications.add(count)
            Trace.emit(.virtioNotify, $0.session.interrupt.device, UInt64(queue), count)
            return true
        }
    }

    func portReady(_ events: EventLoop.Events) {
        serve { _ in
            // Polled as failed, and nobody is going to read it: it would be reported again and again.
            if watch == .paused, !events.isDisjoint(with: [.error, .hangup]) {
                unwatch()
                return false
            }
            return true
        }
    }

    func timerFired(_ number: UInt64, turn: Int) {
        lock.withLock { _ in hasTimer = false }
        serve { live in
            guard live.waiting > 0 else { return false }
            guard number == waitingNumber else { return true }
            if turn < Self.turns, !live.queue.driverHasLooked(isAcknowledged: live.session.interrupt.status & VirtioInterrupt.usedBuffer == 0) {
                startTimer(live, turn: turn &+ 1)
                return false
            }
            drop(live)
            return true
        }
    }

    func idleTimerFired(_ stream: FrameStream?, fills: UInt64) {
        lock.withLock { _ in
            hasIdleTimer = false
            guard case .stream(let current)? = port else { return }
            if current === stream, current.reader.fills == fills { current.reader.releaseIfEmpty() }
            if current.reader.holdsMemory { startIdleTimer(current) }
        }
    }

    private func serve(when wanted: (Live) -> Bool) {
        lock.withLock { _ in
            guard let live, wanted(live), !live.isBroken, isOpen, !isDead, let port, let fault = receive(live, port) else { return }
            live.isBroken = true
            unwatch()
            live.session.requestReset(fault)
        }
    }
}
