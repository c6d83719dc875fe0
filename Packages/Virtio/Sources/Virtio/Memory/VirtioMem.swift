internal import AddressSpace

/// A virtio memory device (virtio 1.2, section 5.15): a region of guest physical memory from which the guest takes blocks, and gives them back, until it has as
/// much as it is asked to have.
///
/// The guest has what is plugged and nothing else. Chunks of the region in which nothing is plugged are not in its address space: an access finds what it finds in
/// any hole, ones, and no page of the host comes of it, whether the guest accepted VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE or not. A chunk is a block, unless the
/// region has more than `BlockGrid.chunkLimit` of them. Only what was in flight in another device's queue when its memory was unplugged, and vhost back ends,
/// which see the whole region, can make pages of it come back.
///
/// Blocks stay as they are when the driver resets the device (section 5.15.5.2); a microVM ends at a system reset.
public final class VirtioMem: VirtioDevice {
    /// How strictly the guest must keep away from what is not plugged.
    public enum UnpluggedAccess: Sendable {
        /// VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE is not offered.
        case allowed
        /// It is offered.
        case discouraged
        /// It is offered, and a driver that does not accept it gets no memory.
        case forbidden
    }

    /// What the user chooses.
    public struct Options: Sendable {
        public var id: String
        /// Guest physical address of the region, a multiple of the block size.
        public var base: UInt64
        /// Bytes, a power of two from 2 MiB on; nil: `defaultBlockSize`.
        public var blockSize: UInt64?
        /// Bytes, a multiple of the block size.
        public var requestedSize: UInt64 = 0
        /// The ACPI proximity domain that the memory belongs to.
        public var node: UInt16?
        public var unpluggedAccess = UnpluggedAccess.discouraged

        public init(id: String, base: UInt64) {
            self.id = id
            self.base = base
        }
    }

    /// Feature bits (section 5.15.3).
    static let acpiNode: UInt64 = 1 << 0
    static let unpluggedInaccessible: UInt64 = 1 << 1

    public static let smallestBlock: UInt64 = 2 << 20
    /// How much larger than the requested size the usable region is: two memory blocks of Linux on x86, so that the driver has a choice.
    static let headroom: UInt64 = 256 << 20
    /// Bytes that are given back or taken before the others on the event loop have their turn: some milliseconds.
    static let slice: UInt64 = 64 << 20
    /// Requests per turn.
    static let budget = 64
    private static let queueSize: UInt16 = 128

    struct Session {
        let queue: SplitQueue
        let features: UInt64
        let interrupt: VirtioInterrupt
        /// Keeps guest RAM mapped.
        let memory: GuestMemory
    }

    public let deviceType: UInt32 = 24
    public let features: UInt64
    public let queueSizes = [VirtioMem.queueSize]
    public var eventSources: [Int32] { [] }
    public internal(set) var droppedRequests: UInt64 = 0

    public var counters: [DeviceCounter] { [DeviceCounter("busy-responses", busyResponses)] }

    let grid: BlockGrid
    let memory: any PluggableMemory
    let chain = DescriptorChain(maximumLength: Int(VirtioMem.queueSize))
    var plugged: BlockBitmap
    /// Bytes that the guest should have.
    public private(set) var requestedSize: UInt64 = 0
    /// Bytes from the start of the region on in which blocks may be plugged.
    private(set) var usableSize: UInt64 = 0
    var session: Session?
    /// What one request has begun and several turns of the loop end.
    var work: Work?
    private let options: Options
    private let sizeChanged: @Sendable (UInt64) -> Void
    /// Requests that the host had no room for.
    var busyResponses: UInt64 = 0
    /// A host that keeps pages is complained about once.
    var hasComplained = false

    public var node: UInt16? { options.node }
    /// Bytes of a block.
    public var blockSize: UInt64 { grid.blockSize }

    /// The smallest block size with which every chunk of the region is one block; where the region is no multiple of that, the largest of which it is.
    public static func defaultBlockSize(of size: UInt64, pageSize: UInt64 = 4096) -> UInt64 {
        var block = max(smallestBlock, pageSize)
        while size / block > BlockGrid.chunkLimit, size % (block << 1) == 0 { block <<= 1 }
        return block
    }

    /// `sizeChanged` is called with the number of plugged bytes when it has changed, under the device's lock.
    public init(
        _ options: Options, memory: any PluggableMemory, sizeChanged: @escaping @Sendable (UInt64) -> Void = { _ in }
    ) throws(MemoryDeviceError) {
        let block = options.blockSize ?? Self.defaultBlockSize(of: memory.size, pageSize: memory.pageSize)
        func failure(_ reason: MemoryDeviceError.Reason) -> MemoryDeviceError { MemoryDeviceError(device: options.id, reason) }
        guard block >= Self.smallestBlock, block.nonzeroBitCount == 1 else { throw failure(.badBlockSize(block)) }
        guard block >= memory.pageSize else { throw failure(.blockWithinPage(blockSize: block, pageSize: memory.pageSize)) }
        guard memory.size > 0, memory.size % block == 0 else { throw failure(.misaligned(size: memory.size, blockSize: block)) }
        guard options.base % block == 0 else { throw failure(.misplaced(address: options.base, blockSize: block)) }
        guard !options.base.addingReportingOverflow(memory.size).overflow else { throw failure(.tooHigh(address: options.base)) }
        grid = BlockGrid(base: options.base, size: memory.size, blockSize: block)
        plugged = BlockBitmap(count: grid.blockCount)
        self.options = options
        self.memory = memory
        self.sizeChanged = sizeChanged
        var features = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex
        if options.node != nil { features |= Self.acpiNode }
        if options.unpluggedAccess != .allowed { features |= Self.unpluggedInaccessible }
        self.features = features
        try request(options.requestedSize)
    }

    /// Asks the guest to have so many bytes; inside `VirtioMMIODevice.update`, and the driver is told afterwards. Nothing has changed when it throws.
    public func request(_ size: UInt64) throws(MemoryDeviceError) {
        guard size <= grid.size else { throw MemoryDeviceError(device: options.id, .requestTooLarge(size, size: grid.size)) }
        guard size % grid.blockSize == 0 else { throw MemoryDeviceError(device: options.id, .unevenRequest(size, blockSize: grid.blockSize)) }
        requestedSize = size
        // It only grows while something may be plugged (section 5.15.4.2).
        usableSize = max(usableSize, usable(for: size))
    }

    private func usable(for requested: UInt64) -> UInt64 {
        guard requested > 0 else { return 0 }
        let wanted = requested.addingReportingOverflow(Self.headroom)
        guard !wanted.overflow, wanted.partialValue < grid.size else { return grid.size }
        // Rounded up to blocks; the region is a multiple of them.
        return grid.size - (grid.size - wanted.partialValue) / grid.blockSize * grid.blockSize
    }

    /// Bytes that the guest has.
    public var pluggedSize: UInt64 { UInt64(plugged.setCount) * grid.blockSize }

    /// After the bitmap has changed.
    func publishSize() { sizeChanged(pluggedSize) }

    /// All is unplugged: the one moment when the usable region may shrink (section 5.15.6.5).
    func shrinkUsable() { usableSize = usable(for: requestedSize) }

    /// The driver may have no memory.
    func isForbidden(_ session: Session) -> Bool {
        options.unpluggedAccess == .forbidden && session.features & Self.unpluggedInaccessible == 0
    }

    // MARK: Configuration space

    /// Section 5.15.4: 64-bit words, of which the second holds the node in its low 16 bits.
    public func readConfig(offset: Int, size: Int) -> UInt64 {
        ConfigurationSpace.read(offset: offset, size: size) { index in
            let word: UInt64 =
                switch index / 8 {
                case 0: grid.blockSize
                case 1: UInt64(options.node ?? 0)
                case 2: grid.base
                case 3: grid.size
                case 4: usableSize
                case 5: pluggedSize
                case 6: requestedSize
                default: 0
                }
            return UInt8(truncatingIfNeeded: word >> UInt64(8 * (index % 8)))
        }
    }

    /// Nothing is writable.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    // MARK: Life

    public func activate(_ session: VirtioSession) {
        guard let first = session.queues.first, let queue = first else { return }
        self.session = Session(queue: queue, features: session.features, interrupt: session.interrupt, memory: session.memory)
    }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult { .idle }

    public func queueNotified(_ index: Int) -> ServiceResult {
        guard index == 0 else { return .idle }
        return serve()
    }

    public func drain() -> ServiceResult {
        let isDone = proceed()
        if let session { publish(session) }
        return isDone ? .idle : .again
    }

    public func prepareStop(_ index: Int) -> Bool {
        abandon()
        return proceed()
    }

    public func stopQueue(_ index: Int) { reset() }

    public func prepareReset() -> Bool { prepareStop(0) }

    public func reset() {
        abandon()
        while !proceed() {}
    }
}
