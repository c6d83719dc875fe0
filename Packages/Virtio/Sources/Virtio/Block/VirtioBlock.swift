internal import AddressSpace
public import BlockBackend

/// A virtio block device (virtio 1.2, section 5.2) with one queue, over a `BlockStorage`.
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

    static let identityLength = 20
    /// Looks at the queue per wake. What is left waits for its turn on the event loop: a guest that refills its queue as fast as it is
    /// served must not starve the other devices (the class of Firecracker issue 5260).
    static let maximumRounds = 10

    /// What exists between activation and reset.
    struct Session {
        let queue: SplitQueue
        /// Keeps guest RAM mapped while the kernel may be writing to it (the class of Cloud Hypervisor issue 7955).
        let memory: GuestMemory
        let interrupt: VirtioInterrupt
        /// The driver never sends FLUSH, so each write is flushed before it is reported.
        let isWriteThrough: Bool
    }

    public let deviceType: UInt32 = 2
    public let features: UInt64
    public let queueSizes: [UInt16]
    public var eventSources: [Int32] { [storage.completionFD] }
    public internal(set) var droppedRequests: UInt64 = 0

    let storage: any BlockStorage
    let identity: [UInt8]
    let chain: DescriptorChain
    private let configuration: BlockConfigurationSpace
    var slots: RequestSlots
    var session: Session?
    /// Requests wait in the queue until a completion makes room. Never true when nothing is in flight.
    var isStalled = false
    /// Something was submitted since the storage was last told to start.
    var needsKick = false

    public init(storage: any BlockStorage, options: Options = Options()) {
        let isPowerOfTwo = options.queueSize & (options.queueSize &- 1) == 0
        let queueSize = isPowerOfTwo && (4...1024).contains(options.queueSize) ? options.queueSize : 256
        let canWrite = !storage.isReadOnly
        let offersDiscard = options.offersDiscard && canWrite && storage.supportsDiscard
        let offersZeroes = options.offersWriteZeroes && canWrite && storage.supportsWriteZeroes
        var features = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex
        features |= BlockFeature.flush | BlockFeature.segmentMaximum
        if storage.isReadOnly { features |= BlockFeature.readOnly }
        if offersDiscard { features |= BlockFeature.discard }
        if offersZeroes { features |= BlockFeature.writeZeroes }
        self.features = features
        self.storage = storage
        queueSizes = [queueSize]
        let serial = Array(options.serial.utf8.prefix(Self.identityLength))
        identity = serial + [UInt8](repeating: 0, count: Self.identityLength - serial.count)
        chain = DescriptorChain(maximumLength: Int(queueSize))
        slots = RequestSlots(capacity: min(Int(queueSize), storage.inFlightLimit), vectorLimit: Int(queueSize))
        configuration = BlockConfigurationSpace(
            capacity: storage.sectorCount,
            // The header and the status take a descriptor each.
            segmentMaximum: UInt32(queueSize) - 2,
            discardAlignment: offersDiscard ? max(1, storage.logicalBlockSize / UInt32(BlockSector.size)) : nil,
            writeZeroesMayUnmap: offersZeroes ? storage.supportsDiscard : nil)
    }

    deinit { reset() }

    public func readConfig(offset: Int, size: Int) -> UInt64 { configuration.read(offset: offset, size: size) }

    /// Nothing is writable: `writeback` belongs to CONFIG_WCE, which is not offered.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    public func activate(_ session: VirtioSession) {
        guard let first = session.queues.first, let queue = first else { return }
        self.session = Session(
            queue: queue, memory: session.memory, interrupt: session.interrupt, isWriteThrough: session.features & BlockFeature.flush == 0)
    }

    public func drain() -> ServiceResult {
        storage.drain { token, result in complete(token, result) }
        needsKick = false
        guard let session else { return .idle }
        publish(session)
        return isStalled ? .again : .idle
    }

    public func prepareReset() -> Bool {
        // The rings may be anything by now: what is in flight ends without a word to the driver.
        session = nil
        isStalled = false
        if slots.inFlight > 0 { storage.reap { token, _ in slots.release(Int(truncatingIfNeeded: token)) } }
        return slots.inFlight == 0
    }

    public func reset() {
        session = nil
        storage.drain { token, _ in slots.release(Int(truncatingIfNeeded: token)) }
        isStalled = false
        needsKick = false
    }
}
