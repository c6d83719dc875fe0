internal import Glibc
internal import LinuxSys

/// The way of one operation from submission to delivery. Owner thread only.
extension RawImage {
    /// The result of an operation that needs no work or can never be done. This is the last line of defence behind the device's own checks: nothing
    /// beyond the image's end is ever touched, or a guest could make the host's file grow.
    func outcomeWithoutWork(_ operation: BlockOperation) -> Int32? {
        if operation.kind == .flush { return image.isReadOnly ? 0 : nil }
        if operation.kind != .read, image.isReadOnly { return -EROFS }
        if operation.kind == .discard, !image.mayDiscard { return -EOPNOTSUPP }
        let (end, overflow) = operation.offset.addingReportingOverflow(operation.length)
        guard !overflow, end <= image.size else { return -EINVAL }
        if operation.kind == .read || operation.kind == .write {
            guard operation.length <= BlockOperation.maximumTransfer, vectorLength(operation) == operation.length else { return -EINVAL }
        }
        return operation.length == 0 ? 0 : nil
    }

    /// The sum of the iovecs' lengths; nil when there is something wrong with them.
    private func vectorLength(_ operation: BlockOperation) -> UInt64? {
        let count = Int(operation.iovecCount)
        guard count >= 0, count <= 1024 else { return nil }
        guard let vectors = unsafe operation.iovecs else { return count == 0 ? 0 : nil }
        var sum: UInt64 = 0
        for index in 0..<count {
            // SAFETY: the caller of BlockOperation's initializer vouches for `iovecCount` elements.
            let (next, overflow) = unsafe sum.addingReportingOverflow(UInt64(vectors[index].iov_len))
            if overflow { return nil }
            sum = next
        }
        return sum
    }

    /// Claims the blocks of a write to a direct image; false when it must wait for another write.
    func mayStart(_ index: Int, _ operation: BlockOperation) -> Bool {
        guard let alignment = image.alignment, operation.kind != .read, operation.kind != .flush else { return true }
        let end = alignment.up(operation.offset &+ operation.length)
        return claims?.claim(index, from: alignment.down(operation.offset), to: end, exclusive: image.isReadModifyWrite(operation)) ?? true
    }

    /// Gives a transfer, or the rest of it, to the ring where the ring can do it, else to the threads.
    func route(_ index: Int) {
        if let ring, !isRingBroken, ringCanServe(index) {
            if ring.prepare(transfers[index], userData: UInt64(index)) {
                ringHasWork = true
                return
            }
            // Cannot happen, as the ring has an entry for every transfer.
        }
        pool.enqueue(index)
        poolHasWork = true
    }

    private func ringCanServe(_ index: Int) -> Bool {
        let operation = transfers[index].operation
        switch operation.kind {
        case .flush: return true
        case .read, .write: return !transfers[index].mustBounce && !image.needsBounce(operation)
        case .discard, .writeZeroes: return false
        }
    }

    func submitRing() {
        guard let ring else { return }
        switch ring.submit() {
        case .submitted: ringHasWork = false
        case .tryLater:
            // The kernel is short of memory. The signal brings the owner back to `reap`, which tries again.
            mustKick = true
            completion.signal()
        case .broken:
            // A seccomp filter, for example. What the kernel has not seen goes to the threads, as does everything from now on.
            ringHasWork = false
            isRingBroken = true
            ring.forEachUnsubmitted { userData in
                let index = Int(truncatingIfNeeded: userData)
                if index >= 0, index < transfers.capacity { pool.enqueue(index) }
            }
            pool.kick()
        }
    }

    /// Continues or delivers a transfer that the kernel has answered.
    func ringCompleted(_ index: Int, _ result: Int32, _ body: (UInt64, Int32) -> Void) {
        let isTransfer = transfers[index].operation.kind != .flush
        if result == -EINTR || result == -EAGAIN { return retryOnPool(index) }
        guard isTransfer, result != 0 else { return deliver(index, isTransfer ? -EIO : result, body) }
        if result == -EINVAL, image.alignment != nil {
            transfers[index].mustBounce = true
            return retryOnPool(index)
        }
        guard result > 0 else { return deliver(index, result, body) }
        // A short transfer goes on behind what was moved; on direct images from the last whole block on, which moves some bytes twice
        // to the same place.
        let moved = UInt64(UInt32(bitPattern: result))
        let progress = image.alignment?.down(moved) ?? moved
        if progress == 0 {
            transfers[index].mustBounce = true
            return retryOnPool(index)
        }
        transfers[index].advance(by: progress)
        if transfers[index].isComplete {
            deliver(index, Int32(clamping: transfers[index].operation.length), body)
        } else {
            route(index)
            mustKick = true
        }
    }

    private func retryOnPool(_ index: Int) {
        pool.enqueue(index)
        poolHasWork = true
        mustKick = true
    }

    /// Hands a result out, and the caller's iovecs back as they were. The transfer's index is free before `body` runs, so that `body` may submit.
    func deliver(_ index: Int, _ result: Int32, _ body: (UInt64, Int32) -> Void) {
        transfers[index].restore()
        let token = transfers[index].operation.token
        claims?.release(index)
        while let next = claims?.nextStartable() {
            route(next)
            mustKick = true
        }
        free.push(index)
        body(token, result)
    }
}
