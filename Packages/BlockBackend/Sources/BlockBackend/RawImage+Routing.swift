internal import Glibc
internal import LinuxSys

/// The way of one operation from submission to delivery. Owner thread only.
extension RawImage {
    /// The result of an operation that needs no work or can never be done. This is the last line of defence behind the device's own checks: nothing
    /// beyond the image's end is ever touched, or a guest could make the host's file grow.
    func outcomeWithoutWork(_ operation: BlockOperation) -> Int32? {
        if operation.kind == .flush { return image.isReadOnly || ignoresFlushes ? 0 : nil }
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

    /// What the throttle has let through.
    func begin(_ index: Int) {
        if zeroDetection != .off, transfers[index].operation.kind == .write { detectZeros(index) }
        batch(index)
    }

    private func detectZeros(_ index: Int) {
        let look = transfers[index].lookForZeros()
        if look == .data { return }
        // Only acts where discards do: `ImageFile.mayDiscard`.
        transfers[index].operation.mayUnmap = zeroDetection == .unmap
        if look == .zeros {
            transfers[index].operation.kind = .writeZeroes
            transfers[index].isZeroWrite = true
        } else {
            transfers[index].mayBeZeros = true
        }
    }

    /// Starts a transfer now, unless a write to the same block has to end first.
    func start(_ index: Int) {
        if mayStart(index, transfers[index].operation) { route(index) }
    }

    /// Claims the blocks of a write to a direct image; false when it must wait for another write.
    func mayStart(_ index: Int, _ operation: BlockOperation) -> Bool {
        guard let alignment = image.alignment, operation.kind != .read, operation.kind != .flush else { return true }
        let end = alignment.up(operation.offset &+ operation.length)
        return claims?.claim(index, from: alignment.down(operation.offset), to: end, exclusive: image.isReadModifyWrite(operation)) ?? true
    }

    /// Gives a transfer, or the rest of it, to the kernel's queue where that can do it, else to the threads.
    func route(_ index: Int) {
        if let queue, !isQueueBroken, queueCanServe(index), queue.prepare(transfers[index], userData: UInt64(index)) {
            queueHasWork = true
        } else {
            pool.enqueue(index)
            poolHasWork = true
        }
    }

    private func queueCanServe(_ index: Int) -> Bool {
        let operation = transfers[index].operation
        switch operation.kind {
        case .flush: return true
        case .read, .write: return !transfers[index].mustBounce && !transfers[index].mayBeZeros && !image.needsBounce(operation)
        case .discard, .writeZeroes: return false
        }
    }

    func submitQueue() {
        guard let queue else { return }
        while true {
            switch queue.submit() {
            case .submitted:
                queueHasWork = false
                return
            case .refused(let userData):
                // The thread that tries it the other way learns what is wrong with it.
                enqueueOnPool(userData)
                pool.kick()
            case .tryLater:
                // The signal brings the owner back to `reap`, which tries again.
                mustKick = true
                completion.signal()
                return
            case .broken:
                // A seccomp filter, for example. What the kernel has not seen goes to the threads, as does everything from now on.
                queueHasWork = false
                isQueueBroken = true
                queue.forEachUnsubmitted { enqueueOnPool($0) }
                pool.kick()
                return
            }
        }
    }

    private func enqueueOnPool(_ userData: UInt64) {
        let index = Int(truncatingIfNeeded: userData)
        if index >= 0, index < transfers.capacity { pool.enqueue(index) }
    }

    /// Continues or delivers a transfer that the kernel has answered.
    func queueCompleted(_ index: Int, _ result: Int32, _ body: (UInt64, Int32) -> Void) {
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
        if index >= inFlightLimit {
            giveUpClaim(index)
            return deliverGroup(index &- inFlightLimit, result, body)
        }
        let token = transfers[index].operation.token
        giveUpClaim(index)
        free.push(index)
        body(token, result)
    }

    private func giveUpClaim(_ index: Int) {
        claims?.release(index)
        while let next = claims?.nextStartable() {
            route(next)
            mustKick = true
        }
    }
}
