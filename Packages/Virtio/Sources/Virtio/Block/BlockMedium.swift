internal import BlockBackend

/// What is in the slot of a block device, and how the guest sees it.
struct BlockMedium {
    static let identityLength = 20
    /// For an empty slot: what every disk to come is content with.
    private static let emptyDiscardAlignment: UInt32 = 4096 / UInt32(BlockSector.size)

    /// Nil: the slot is empty.
    let storage: (any BlockStorage)?
    /// What GET_ID answers.
    let identity: [UInt8]
    let servesDiscard: Bool
    let servesWriteZeroes: Bool
    /// Each write is flushed before it is reported, whatever the driver has negotiated.
    let writesThrough: Bool
    /// What a driver may negotiate while this is in the slot.
    let features: UInt64
    let configuration: BlockConfigurationSpace

    /// The driver negotiates once, whatever comes into the slot later. So an empty slot offers discard and write zeroes; a storage without them answers
    /// UNSUPP, which Linux reports as EOPNOTSUPP, as it does for a disk that never had them. It does not offer RO: a read-only storage then fails writes.
    init(_ storage: (any BlockStorage)?, _ options: VirtioBlock.Options, queueSize: UInt16, queueCount: Int) {
        let canWrite = storage.map { !$0.isReadOnly } ?? true
        servesDiscard = options.offersDiscard && canWrite && storage?.supportsDiscard == true
        servesWriteZeroes = options.offersWriteZeroes && canWrite && storage?.supportsWriteZeroes == true
        let offersDiscard = servesDiscard || storage == nil
        let offersZeroes = servesWriteZeroes || storage == nil
        var features = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex
        features |= BlockFeature.segmentMaximum
        // A disk that has nothing to flush: the driver then takes each write that has ended for stable (virtio 1.2, section 5.2.6.2).
        if !options.writesThrough { features |= BlockFeature.flush }
        if queueCount > 1 { features |= BlockFeature.multiqueue }
        if !canWrite { features |= BlockFeature.readOnly }
        if offersDiscard { features |= BlockFeature.discard }
        if offersZeroes { features |= BlockFeature.writeZeroes }
        self.features = features
        self.storage = storage
        writesThrough = options.writesThrough
        let serial = Array(options.serial.utf8.prefix(Self.identityLength))
        identity = serial + [UInt8](repeating: 0, count: Self.identityLength - serial.count)
        let alignment = storage.map { max(1, $0.logicalBlockSize / UInt32(BlockSector.size)) } ?? Self.emptyDiscardAlignment
        configuration = BlockConfigurationSpace(
            capacity: storage?.sectorCount ?? 0,
            // The header and the status take a descriptor each.
            segmentMaximum: UInt32(queueSize) - 2,
            queueCount: UInt16(queueCount),
            discardAlignment: offersDiscard ? alignment : nil,
            writeZeroesMayUnmap: offersZeroes ? storage?.supportsDiscard ?? true : nil)
    }

    /// All queues share them: more queues cost no memory for requests.
    func makeSlots(queueSize: UInt16, queueCount: Int) -> RequestSlots {
        guard let storage else { return RequestSlots(capacity: 0, vectorLimit: 0) }
        return RequestSlots(capacity: max(1, min(Int(queueSize) * queueCount, storage.inFlightLimit)), vectorLimit: Int(queueSize))
    }
}
