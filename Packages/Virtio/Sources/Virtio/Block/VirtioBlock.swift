internal import AddressSpace
public import BlockBackend
public import LinuxSys

/// A virtio block device (virtio 1.2, section 5.2) with one queue or several, over a `BlockStorage` that may come, go and be replaced while the guest runs.
///
/// Data moves between the storage and guest RAM by iovecs, without a copy. Everything here runs under the transport's lock, which also
/// orders the calls of the storage.
public final class VirtioBlock: VirtioDevice {
    /// What the user chooses.
    public struct Options: Sendable {
        /// What GET_ID answers, cut off after 20 bytes (VIRTIO_BLK_ID_BYTES).
        public var serial: String
        /// A power of two, 4...1024 (a chain must fit IOV_MAX); what is not becomes 256.
        public var queueSize: UInt16
        /// Of as many request queues, 1...32, as the device has for its whole life. One loop serves all of them and one interrupt tells of all: more queues than one
        /// save the guest's processors the lock of its queue, and nothing here.
        public var queueCount: Int
        /// Each write is stable before its end is reported: the driver is not even offered FLUSH.
        public var writesThrough: Bool
        /// Offer discard, if the storage has it.
        public var offersDiscard: Bool
        /// Offer write zeroes, if the storage has it.
        public var offersWriteZeroes: Bool

        public init(
            serial: String = "", queueSize: UInt16 = 256, queueCount: Int = 1, writesThrough: Bool = false, offersDiscard: Bool = false,
            offersWriteZeroes: Bool = false
        ) {
            self.serial = serial
            self.queueSize = queueSize
            self.queueCount = min(max(queueCount, 1), VirtioBlock.maximumQueues)
            self.writesThrough = writesThrough
            self.offersDiscard = offersDiscard
            self.offersWriteZeroes = offersWriteZeroes
        }
    }

    /// Looks at the queue per wake. What is left waits for its turn on the event loop: a guest that refills its queue as fast as it is
    /// served must not starve the other devices (the class of Firecracker issue 5260).
    static let maximumRounds = 10
    public static let maximumQueues = 32

    /// What exists between activation and reset.
    struct Session {
        /// By number; nil where the driver has set none up.
        let queues: [SplitQueue?]
        /// What was negotiated.
        let features: UInt64
        let interrupt: VirtioInterrupt
        let control: SessionControl
        /// The driver never sends FLUSH, so each write is flushed before it is reported.
        var isWriteThrough: Bool { features & BlockFeature.flush == 0 }

        func queue(_ index: Int) -> SplitQueue? { queues.indices.contains(index) ? queues[index] : nil }
    }

    public let deviceType: UInt32 = 2
    public var features: UInt64 { medium.features }
    public let queueSizes: [UInt16]
    public var eventSources: [Int32] {
        guard let storage = medium.storage else { return [] }
        return [storage.completionFD] + (storage.throttleFD.map { [$0] } ?? [])
    }
    public var isPollable: Bool { true }
    public var hasEvents: Bool { medium.storage?.hasCompletions ?? false }
    public internal(set) var droppedRequests: UInt64 = 0
    /// Of the disk that is in the slot now.
    public var statistics: BlockStatistics {
        var statistics = counted
        statistics.merge(.read, count: medium.storage?.mergedReads ?? 0)
        statistics.merge(.write, count: medium.storage?.mergedWrites ?? 0)
        return statistics
    }

    var medium: BlockMedium
    let chain: DescriptorChain
    var slots: RequestSlots
    var session: Session?
    /// Keeps guest RAM mapped while the kernel may be writing to it (the class of Cloud Hypervisor issue 7955): from activation to the end of the last
    /// request, which may be later than the session's.
    private var memory: GuestMemory?
    /// The driver takes these back: nothing more is taken from them until the next session.
    var stopping = QueueMask.none
    /// Requests wait in these until a completion makes room. None when nothing is in flight.
    var stalled = QueueMask.none
    /// The stalled one to begin with next time.
    var turn = 0
    /// Something was given back that the driver has not been shown.
    var unpublished = QueueMask.none
    var counted = BlockStatistics()
    /// Something was submitted since the storage was last told to start.
    var needsKick = false

    /// Without a storage the device is an empty slot: its capacity is 0 and each request fails.
    public init(storage: (any BlockStorage)?, options: Options = Options()) {
        let isPowerOfTwo = options.queueSize & (options.queueSize &- 1) == 0
        let queueSize = isPowerOfTwo && (4...1024).contains(options.queueSize) ? options.queueSize : 256
        queueSizes = Array(repeating: queueSize, count: options.queueCount)
        chain = DescriptorChain(maximumLength: Int(queueSize))
        medium = BlockMedium(storage, options, queueSize: queueSize, queueCount: options.queueCount)
        slots = medium.makeSlots(queueSize: queueSize, queueCount: options.queueCount)
    }

    deinit { reset() }

    /// Puts another storage into the slot, or empties it; only inside `VirtioMMIODevice.update`. Of the options the queues' number and size are left out: they stay.
    ///
    /// What the driver has queued before is served by the old storage, and has ended when this returns, however slow that is; later requests
    /// are the new storage's. The old one is given up. Linux looks at the capacity, and at nothing else, when it is told that the configuration has changed
    /// (`virtblk_config_changed`): so logical blocks have 512 bytes always, and what the driver has negotiated stays.
    public func replaceStorage(_ storage: (any BlockStorage)?, options: Options = Options()) {
        finishQueued()
        // A power of two that `init` has checked.
        let queueSize = queueSizes.first ?? 256
        medium = BlockMedium(storage, options, queueSize: queueSize, queueCount: queueSizes.count)
        slots = medium.makeSlots(queueSize: queueSize, queueCount: queueSizes.count)
        counted = BlockStatistics()
    }

    /// Changes what the storage may do; only inside `VirtioMMIODevice.update`. Throws when the host has no timer left, and where there is no storage.
    public func setThrottle(_ limits: ThrottleLimits) throws(Errno) {
        guard let storage = medium.storage else { throw .notSupported }
        try storage.setThrottle(limits)
    }

    public func readConfig(offset: Int, size: Int) -> UInt64 { medium.configuration.read(offset: offset, size: size) }

    /// Nothing is writable: `writeback` belongs to CONFIG_WCE, which is not offered.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    public func activate(_ session: VirtioSession) {
        stopping = .none
        stalled = .none
        unpublished = .none
        guard session.queues.contains(where: { $0 != nil }) else { return }
        memory = session.memory
        self.session = Session(queues: session.queues, features: session.features, interrupt: session.interrupt, control: session.control)
    }

    public func drain() -> ServiceResult {
        medium.storage?.drain { token, result in complete(token, result) }
        needsKick = false
        guard let session else { return .idle }
        publish(session)
        return stalled.isEmpty ? .idle : .again
    }

    public func prepareStop(_ index: Int) -> Bool {
        stopping.insert(index)
        stalled.remove(index)
        guard slots.hasRequest(of: index) else { return true }
        // What waits for its limit has not been started and is not: a guest that stops and starts its disk gets no more than its share.
        medium.storage?.cancelWaiting { token in slots[Int(truncatingIfNeeded: token)]?.queue == UInt8(truncatingIfNeeded: index) }
        _ = eventSourceReady(-1)
        return !slots.hasRequest(of: index)
    }

    public func prepareReset() -> Bool {
        // The rings may be anything by now: what is in flight ends without a word to the driver.
        session = nil
        stalled = .none
        medium.storage?.cancelWaiting { _ in true }
        if slots.inFlight > 0 { medium.storage?.reap { token, _ in slots.release(Int(truncatingIfNeeded: token)) } }
        return slots.inFlight == 0
    }

    public func reset() {
        session = nil
        medium.storage?.cancelWaiting { _ in true }
        medium.storage?.drain { token, _ in slots.release(Int(truncatingIfNeeded: token)) }
        stalled = .none
        needsKick = false
        memory = nil
    }
}
