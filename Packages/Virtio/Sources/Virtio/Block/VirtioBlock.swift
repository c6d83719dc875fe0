internal import AddressSpace
public import BlockBackend

/// A virtio block device (virtio 1.2, section 5.2) with one queue, over a `BlockStorage` that may come, go and be replaced while the guest runs.
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
        /// Offer discard, if the storage has it.
        public var offersDiscard: Bool
        /// Offer write zeroes, if the storage has it.
        public var offersWriteZeroes: Bool

        public init(serial: String = "", queueSize: UInt16 = 256, offersDiscard: Bool = false, offersWriteZeroes: Bool = false) {
            self.serial = serial
            self.queueSize = queueSize
            self.offersDiscard = offersDiscard
            self.offersWriteZeroes = offersWriteZeroes
        }
    }

    /// Looks at the queue per wake. What is left waits for its turn on the event loop: a guest that refills its queue as fast as it is
    /// served must not starve the other devices (the class of Firecracker issue 5260).
    static let maximumRounds = 10

    /// What exists between activation and reset.
    struct Session {
        let queue: SplitQueue
        /// What was negotiated.
        let features: UInt64
        let interrupt: VirtioInterrupt
        let control: SessionControl
        /// The driver never sends FLUSH, so each write is flushed before it is reported.
        var isWriteThrough: Bool { features & BlockFeature.flush == 0 }
    }

    public let deviceType: UInt32 = 2
    public var features: UInt64 { medium.features }
    public let queueSizes: [UInt16]
    public var eventSources: [Int32] { medium.storage.map { [$0.completionFD] } ?? [] }
    public internal(set) var droppedRequests: UInt64 = 0
    /// Of the disk that is in the slot now.
    public internal(set) var statistics = BlockStatistics()

    var medium: BlockMedium
    let chain: DescriptorChain
    var slots: RequestSlots
    var session: Session?
    /// Keeps guest RAM mapped while the kernel may be writing to it (the class of Cloud Hypervisor issue 7955): from activation to the end of the last
    /// request, which may be later than the session's.
    private var memory: GuestMemory?
    /// The driver takes the queue back: nothing more is taken from it until the next session.
    var isStopping = false
    /// Requests wait in the queue until a completion makes room. Never true when nothing is in flight.
    var isStalled = false
    /// Something was submitted since the storage was last told to start.
    var needsKick = false

    /// Without a storage the device is an empty slot: its capacity is 0 and each request fails.
    public init(storage: (any BlockStorage)?, options: Options = Options()) {
        let isPowerOfTwo = options.queueSize & (options.queueSize &- 1) == 0
        let queueSize = isPowerOfTwo && (4...1024).contains(options.queueSize) ? options.queueSize : 256
        queueSizes = [queueSize]
        chain = DescriptorChain(maximumLength: Int(queueSize))
        medium = BlockMedium(storage, options, queueSize: queueSize)
        slots = medium.makeSlots(queueSize: queueSize)
    }

    deinit { reset() }

    /// Puts another storage into the slot, or empties it; only inside `VirtioMMIODevice.update`. Of the options the queue size is left out: it stays.
    ///
    /// What the driver has queued before is served by the old storage, and has ended when this returns, however slow that is; later requests
    /// are the new storage's. The old one is given up. Linux looks at the capacity, and at nothing else, when it is told that the configuration has changed
    /// (`virtblk_config_changed`): so logical blocks have 512 bytes always, and what the driver has negotiated stays.
    public func replaceStorage(_ storage: (any BlockStorage)?, options: Options = Options()) {
        finishQueued()
        // A power of two that `init` has checked.
        let queueSize = queueSizes.first ?? 256
        medium = BlockMedium(storage, options, queueSize: queueSize)
        slots = medium.makeSlots(queueSize: queueSize)
        statistics = BlockStatistics()
    }

    public func readConfig(offset: Int, size: Int) -> UInt64 { medium.configuration.read(offset: offset, size: size) }

    /// Nothing is writable: `writeback` belongs to CONFIG_WCE, which is not offered.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    public func activate(_ session: VirtioSession) {
        isStopping = false
        guard let first = session.queues.first, let queue = first else { return }
        memory = session.memory
        self.session = Session(queue: queue, features: session.features, interrupt: session.interrupt, control: session.control)
    }

    public func drain() -> ServiceResult {
        medium.storage?.drain { token, result in complete(token, result) }
        needsKick = false
        guard let session else { return .idle }
        publish(session)
        return isStalled ? .again : .idle
    }

    public func prepareStop(_ index: Int) -> Bool {
        isStopping = true
        isStalled = false
        if slots.inFlight > 0 { _ = eventSourceReady(-1) }
        return slots.inFlight == 0
    }

    public func prepareReset() -> Bool {
        // The rings may be anything by now: what is in flight ends without a word to the driver.
        session = nil
        isStalled = false
        if slots.inFlight > 0 { medium.storage?.reap { token, _ in slots.release(Int(truncatingIfNeeded: token)) } }
        return slots.inFlight == 0
    }

    public func reset() {
        session = nil
        medium.storage?.drain { token, _ in slots.release(Int(truncatingIfNeeded: token)) }
        isStalled = false
        needsKick = false
        memory = nil
    }
}
