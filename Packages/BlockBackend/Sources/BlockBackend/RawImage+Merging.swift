internal import Glibc

/// The reads or writes that were submitted last, as long as each goes on where the one before ends.
struct OpenBatch {
    var kind = BlockOperation.Kind.flush
    var first = 0
    var last = 0
    /// 0: no batch is open.
    var count = 0
    var vectorCount: Int32 = 0
    var offset: UInt64 = 0
    var length: UInt64 = 0
    /// From the second transfer on.
    var group = 0
}

/// Merging: adjacent requests of one batch become one system call. Only neighbours in the order of submission are merged, so nothing changes places, and a flush
/// or whatever else comes between two of them keeps them apart. Owner thread only.
extension RawImage {
    /// Starts a transfer, or keeps it back until it is known what follows: at the latest until `kick`.
    func batch(_ index: Int) {
        let operation = transfers[index].operation
        guard mergeLimit > 1, operation.kind == .read || operation.kind == .write, !transfers[index].mayBeZeros, !image.needsBounce(operation) else {
            closeBatch()
            return start(index)
        }
        if extends(operation), append(index, operation) { return }
        closeBatch()
        pending = OpenBatch(
            kind: operation.kind, first: index, last: index, count: 1, vectorCount: operation.iovecCount, offset: operation.offset, length: operation.length)
    }

    private func extends(_ operation: BlockOperation) -> Bool {
        pending.count > 0 && pending.count < mergeLimit && pending.kind == operation.kind && pending.offset &+ pending.length == operation.offset
            && Int(pending.vectorCount) &+ Int(operation.iovecCount) <= MergeGroups.maximumVectors
            && pending.length &+ operation.length <= MergeGroups.maximumBytes
    }

    private func append(_ index: Int, _ operation: BlockOperation) -> Bool {
        if pending.count == 1 {
            guard let group = groups.take(first: pending.first) else { return false }
            pending.group = group
            pending.vectorCount = 0
            copyVectors(of: transfers[pending.first].operation)
        }
        copyVectors(of: operation)
        groups.link(index, behind: pending.last)
        pending.last = index
        pending.count &+= 1
        pending.length &+= operation.length
        if operation.kind == .read { groups.mergedReads &+= 1 } else { groups.mergedWrites &+= 1 }
        return true
    }

    private func copyVectors(of operation: BlockOperation) {
        guard let source = unsafe operation.iovecs, let target = unsafe groups.vectors(of: pending.group) else { return }
        // SAFETY: `extends` has checked that all fit `maximumVectors`; the source is alive until its operation completes, which is after the group's.
        unsafe (target + Int(pending.vectorCount)).update(from: source, count: Int(operation.iovecCount))
        pending.vectorCount &+= operation.iovecCount
    }

    /// Starts what was kept back.
    func closeBatch() {
        guard pending.count > 0 else { return }
        defer { pending.count = 0 }
        guard pending.count > 1, let vectors = unsafe groups.vectors(of: pending.group) else { return start(pending.first) }
        let index = inFlightLimit &+ pending.group
        // SAFETY: `vectorCount` elements were copied, and stay until the group is released, which is when the kernel or the worker is done with it.
        transfers[index] = Transfer(
            unsafe BlockOperation(pending.kind, offset: pending.offset, length: pending.length, iovecs: vectors, count: pending.vectorCount, token: 0))
        start(index)
    }

    /// Delivers the transfers of a group. When the whole has failed nobody knows which of them is to blame: each is done again alone.
    func deliverGroup(_ group: Int, _ result: Int32, _ body: (UInt64, Int32) -> Void) {
        var member: Int? = groups.release(group)
        while let index = member {
            // Before the delivery: `body` may use the transfer for something new.
            member = groups.next(index)
            if result < 0 {
                start(index)
                mustKick = true
            } else {
                deliver(index, Int32(clamping: transfers[index].operation.length), body)
            }
        }
    }
}
