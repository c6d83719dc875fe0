internal import AddressSpace
internal import LinuxSys

/// A virtio persistent memory device (virtio 1.2, section 5.19): a file that the guest sees as memory, and a queue on which it asks for what it wrote to be made
/// durable. The memory itself is the machine's, which shows it in the guest's address space.
///
/// A flush covers everything that was written before it begins. So it answers every request that is waiting when it begins, however many; those that come later
/// wait for the next one. Nothing of a request is kept meanwhile: it stays in the queue.
public final class VirtioPmem: VirtioDevice {
    /// Bytes of which address and size of the memory are multiples: what Linux maps at once.
    public static let alignment: UInt64 = 2 << 20

    private static let queueSize: UInt16 = 128
    private static let flushRequest: UInt32 = 0
    /// Section 5.19.6: 0 is success, -1 failure.
    private static let success: [UInt8] = [0, 0, 0, 0]
    private static let failure: [UInt8] = [0xff, 0xff, 0xff, 0xff]

    private struct Session {
        let queue: SplitQueue
        let interrupt: VirtioInterrupt
        /// Keeps guest RAM mapped.
        let memory: GuestMemory
    }

    public let deviceType: UInt32 = 27
    public let features = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex
    public let queueSizes = [VirtioPmem.queueSize]
    public var eventSources: [Int32] { target.map { [$0.completionDescriptor] } ?? [] }
    public private(set) var droppedRequests: UInt64 = 0

    public var counters: [DeviceCounter] { [DeviceCounter("flushes", flushes), DeviceCounter("failed-flushes", failedFlushes)] }

    private let base: UInt64
    private let size: UInt64
    private let target: (any FlushTarget)?
    private let chain = DescriptorChain(maximumLength: Int(VirtioPmem.queueSize))
    private var session: Session?
    private var isFlushing = false
    /// Requests that the flush under way answers, at the head of the queue.
    private var covered: UInt16 = 0
    private var flushes: UInt64 = 0
    private var failedFlushes: UInt64 = 0

    /// `size` bytes of memory at guest physical address `base`. Without a target there is nothing to be made durable: memory that is read-only, or the guest's alone.
    public init(base: UInt64, size: UInt64, target: (any FlushTarget)?) {
        self.base = base
        self.size = size
        self.target = target
    }

    /// Section 5.19.4: start and size, 64 bits each.
    public func readConfig(offset: Int, size: Int) -> UInt64 {
        ConfigurationSpace.read(offset: offset, size: size) { index in
            let word = index < 8 ? base : index < 16 ? self.size : 0
            return UInt8(truncatingIfNeeded: word >> UInt64(8 * (index % 8)))
        }
    }

    /// Nothing is writable.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    // MARK: Life

    public func activate(_ session: VirtioSession) {
        guard let first = session.queues.first, let queue = first else { return }
        self.session = Session(queue: queue, interrupt: session.interrupt, memory: session.memory)
    }

    public func queueNotified(_ index: Int) -> ServiceResult {
        guard index == 0, !isFlushing else { return .idle }
        return serve()
    }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        guard isFlushing, let isDurable = target?.takeResult() else { return .idle }
        isFlushing = false
        flushes &+= 1
        if !isDurable {
            // Once: a guest that asks again and again must not fill the log.
            if failedFlushes == 0 { Log.error("virtio-pmem: what the guest wrote cannot be made durable") }
            failedFlushes &+= 1
        }
        guard let session else { return .idle }
        defer { publish(session) }
        do {
            try answer(covered, session, isDurable ? Self.success : Self.failure)
        } catch {
            return .fault(.needsReset(error))
        }
        return serve()
    }

    public func drain() -> ServiceResult {
        guard isFlushing else { return .idle }
        target?.wait()
        let result = eventSourceReady(-1)
        return result == .idle && isFlushing ? .again : result
    }

    public func stopQueue(_ index: Int) { reset() }

    /// A flush that is under way touches no guest memory, and is not waited for; whoever uses the device next begins one of his own.
    public func reset() {
        session = nil
        covered = 0
    }

    // MARK: Requests

    /// Begins a flush for what is in the queue.
    private func serve() -> ServiceResult {
        guard let session, session.queue.isEnabled else { return .idle }
        let queue = session.queue
        queue.disableNotifications()
        do {
            if try !queue.refreshAvailable() {
                guard try queue.enableNotifications() else { return .idle }
            }
            covered = queue.waitingCount
            if let target {
                isFlushing = true
                target.start()
                return .idle
            }
            defer { publish(session) }
            try answer(covered, session, Self.success)
        } catch {
            return .fault(.needsReset(error))
        }
        return .again
    }

    private func answer(_ count: UInt16, _ session: Session, _ status: [UInt8]) throws(QueueFault) {
        let queue = session.queue
        covered = 0
        for _ in 0..<count {
            guard try queue.pop(into: chain) else { return }
            let type = chain.readInteger(UInt32.self, at: 0)
            let isAnswered = type != nil && chain.writePrefix(type == Self.flushRequest ? status : Self.failure)
            // Its buffers go back in any case (the class of Cloud Hypervisor PR 8401).
            if !isAnswered { droppedRequests &+= 1 }
            queue.push(head: chain.head, written: isAnswered ? UInt32(status.count) : 0)
        }
    }

    private func publish(_ session: Session) {
        if session.queue.publish() { session.interrupt.raise(VirtioInterrupt.usedBuffer) }
    }
}
