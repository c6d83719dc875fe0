internal import BlockBackend
internal import LinuxSys

extension VirtioBlock {
    /// What becomes of a request once it is understood.
    private enum Plan {
        /// Answered at once.
        case answer(status: UInt8, written: UInt32)
        /// Moves data: `skip` leaves out the header of a write.
        case transfer(BlockOperation.Kind, offset: UInt64, length: UInt64)
        /// Works on the storage alone.
        case operation(BlockOperation.Kind, offset: UInt64, length: UInt64, mayUnmap: Bool)
    }

    /// Starts or answers the request in `chain`; false when there is no room for it now.
    func start(_ session: Session, _ queueIndex: Int) -> Bool {
        // A chain that cannot even carry an answer goes back as it is: dropping it silently would leak the driver's descriptors (the class of
        // Cloud Hypervisor PR 8401).
        guard let header = BlockRequestHeader(chain), let status = chain.lastWritableByte else {
            droppedRequests &+= 1
            giveBack(session, queueIndex, head: chain.head, written: 0)
            return true
        }
        guard let storage = medium.storage else {
            finish(session, queueIndex, head: chain.head, statusAddress: status, BlockStatus.ioError, written: 0)
            return true
        }
        switch plan(session, storage, header) {
        case .answer(let code, let written):
            if code != BlockStatus.ok, let kind = header.kind?.counted { counted.refuse(kind) }
            finish(session, queueIndex, head: chain.head, statusAddress: status, code, written: written)
            return true
        case .transfer(let kind, let offset, let length):
            return startTransfer(session, queueIndex, storage, kind, offset: offset, length: length, status: status)
        case .operation(let kind, let offset, let length, let mayUnmap):
            guard let index = slots.acquire(vectorCount: 0) else { return false }
            remember(session, queueIndex, index, kind, offset: offset, length: length, status: status)
            storage.submit(BlockOperation(kind, offset: offset, length: length, mayUnmap: mayUnmap, token: UInt64(index)))
            needsKick = true
            return true
        }
    }

    private func startTransfer(
        _ session: Session, _ queueIndex: Int, _ storage: any BlockStorage, _ kind: BlockOperation.Kind, offset: UInt64, length: UInt64, status: UInt
    ) -> Bool {
        let part: DescriptorChain.Part = kind == .read ? .writable : .readable
        let skip = kind == .read ? 0 : BlockRequestHeader.size
        let count = chain.segmentCount(part, skip: skip, length: length)
        guard let index = slots.acquire(vectorCount: count) else { return false }
        guard let vectors = unsafe slots.vectors(index) else {
            slots.release(index)
            return false
        }
        // SAFETY: the slot has room for `count` elements. Guest memory stays while `session` does, which ends only after a drain.
        unsafe chain.fill(vectors, part, skip: skip, length: length)
        remember(session, queueIndex, index, kind, offset: offset, length: length, status: status)
        storage.submit(
            unsafe BlockOperation(kind, offset: offset, length: length, iovecs: vectors, count: Int32(truncatingIfNeeded: count), token: UInt64(index)))
        needsKick = true
        return true
    }

    private func remember(
        _ session: Session, _ queueIndex: Int, _ index: Int, _ kind: BlockOperation.Kind, offset: UInt64, length: UInt64, status: UInt
    ) {
        Trace.emit(.blockStart, "\(session.interrupt.device) \(BlockStatistics.Kind(kind).name)", UInt64(queueIndex), offset, length)
        let head = chain.head
        let isWriteThrough = (session.isWriteThrough || medium.writesThrough) && kind != .read && kind != .flush
        slots.update(index) { slot in
            slot.kind = kind
            slot.queue = UInt8(truncatingIfNeeded: queueIndex)
            slot.head = head
            slot.status = status
            slot.offset = offset
            slot.length = length
            slot.start = BlockStatistics.begin()
            slot.isWriteThrough = isWriteThrough
        }
    }

    private func plan(_ session: Session, _ storage: any BlockStorage, _ header: BlockRequestHeader) -> Plan {
        guard let kind = header.kind else { return .answer(status: BlockStatus.unsupported, written: 0) }
        switch kind {
        case .read:
            return transferPlan(storage, .read, header.sector, length: chain.writableBytes &- 1)
        case .write:
            // Whether the driver accepted VIRTIO_BLK_F_RO, or was never offered it, or not (the class of Cloud Hypervisor issue 7697).
            guard !storage.isReadOnly else { return .answer(status: BlockStatus.ioError, written: 0) }
            return transferPlan(storage, .write, header.sector, length: chain.readableBytes &- BlockRequestHeader.size)
        case .flush:
            return .operation(.flush, offset: 0, length: 0, mayUnmap: false)
        case .identify:
            let identity = medium.identity
            guard chain.writableBytes > UInt64(identity.count), chain.writePrefix(identity) else { return .answer(status: BlockStatus.ioError, written: 0) }
            return .answer(status: BlockStatus.ok, written: UInt32(identity.count))
        case .discard:
            return rangePlan(session, storage, .discard, feature: BlockFeature.discard, isServed: medium.servesDiscard)
        case .writeZeroes:
            return rangePlan(session, storage, .writeZeroes, feature: BlockFeature.writeZeroes, isServed: medium.servesWriteZeroes)
        }
    }

    private func transferPlan(_ storage: any BlockStorage, _ kind: BlockOperation.Kind, _ sector: UInt64, length: UInt64) -> Plan {
        guard length % BlockSector.size == 0, length <= BlockOperation.maximumTransfer,
            let offset = BlockSector.offset(of: sector, count: length >> BlockSector.shift, capacity: storage.sectorCount)
        else { return .answer(status: BlockStatus.ioError, written: 0) }
        if length == 0 { return .answer(status: BlockStatus.ok, written: 0) }
        return .transfer(kind, offset: offset, length: length)
    }

    /// Discard and write zeroes, one segment each (virtio 1.2, section 5.2.6.2).
    private func rangePlan(
        _ session: Session, _ storage: any BlockStorage, _ kind: BlockOperation.Kind, feature: UInt64, isServed: Bool
    ) -> Plan {
        guard session.features & feature != 0 else { return .answer(status: BlockStatus.unsupported, written: 0) }
        // Negotiated when something else was in the slot.
        guard isServed else { return .answer(status: storage.isReadOnly ? BlockStatus.ioError : BlockStatus.unsupported, written: 0) }
        guard let segment = BlockRangeSegment(chain) else { return .answer(status: BlockStatus.ioError, written: 0) }
        if segment.hasUnknownFlags || (kind == .discard && segment.mayUnmap) { return .answer(status: BlockStatus.unsupported, written: 0) }
        let limit = kind == .discard ? BlockConfigurationSpace.maximumDiscardSectors : BlockConfigurationSpace.maximumZeroSectors
        guard chain.readableBytes == BlockRequestHeader.size + BlockRangeSegment.size, segment.sectorCount <= limit,
            let offset = BlockSector.offset(of: segment.sector, count: UInt64(segment.sectorCount), capacity: storage.sectorCount)
        else { return .answer(status: BlockStatus.ioError, written: 0) }
        if segment.sectorCount == 0 { return .answer(status: BlockStatus.ok, written: 0) }
        return .operation(kind, offset: offset, length: UInt64(segment.sectorCount) << BlockSector.shift, mayUnmap: segment.mayUnmap)
    }
}

extension BlockRequestHeader.Kind {
    /// Nil for what the disk has no part in.
    var counted: BlockStatistics.Kind? {
        switch self {
        case .read: .read
        case .write, .writeZeroes: .write
        case .flush: .flush
        case .discard: .discard
        case .identify: nil
        }
    }
}

extension BlockStatistics.Kind {
    init(_ kind: BlockOperation.Kind) {
        switch kind {
        case .read: self = .read
        case .write, .writeZeroes: self = .write
        case .flush: self = .flush
        case .discard: self = .discard
        }
    }
}
