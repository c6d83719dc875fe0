internal import BlockBackend
internal import Glibc

extension VirtioBlock {
    public func queueNotified(_ index: Int) -> ServiceResult {
        guard index == 0, let session else { return .idle }
        return serve(session)
    }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        medium.storage?.reap { token, result in complete(token, result) }
        guard let session else { return .idle }
        kick()
        publish(session)
        return isStalled ? serve(session) : .idle
    }

    /// Takes requests until the queue is empty, the storage is full, or it is somebody else's turn.
    private func serve(_ session: Session) -> ServiceResult {
        let queue = session.queue
        isStalled = false
        for _ in 0..<Self.maximumRounds {
            queue.disableNotifications()
            // At most one queue full a round.
            var left = queue.size
            let fault = take(session, &left)
            kick()
            publish(session)
            if let fault { return .fault(.needsReset(fault)) }
            // A completion goes on from here; until then notifications tell nothing new.
            if isStalled { return .idle }
            do {
                guard try queue.enableNotifications() else { return .idle }
            } catch {
                return .fault(.needsReset(error))
            }
        }
        return .again
    }

    /// At most `left` requests.
    private func take(_ session: Session, _ left: inout UInt16) -> QueueFault? {
        if isStopping { return nil }
        let queue = session.queue
        do {
            while left > 0, try queue.pop(into: chain) {
                guard start(session) else {
                    queue.undoPop()
                    isStalled = true
                    return nil
                }
                left &-= 1
            }
            return nil
        } catch {
            return error
        }
    }

    /// Serves what is in the queue now, at most one queue full, and waits until it has ended.
    func finishQueued() {
        guard let session else { return reset() }
        // A guest that goes on queueing while its disk is taken away does not hold this up; each round ends at least one request.
        var left = session.queue.size
        for _ in 0...session.queue.size {
            isStalled = false
            if let fault = take(session, &left) { session.control.requestReset(fault) }
            kick()
            medium.storage?.drain { token, result in complete(token, result) }
            needsKick = false
            publish(session)
            if !isStalled { break }
        }
        isStalled = false
        // Whatever came after the last look is the next storage's, and `update` has the queue looked at again.
    }

    func kick() {
        guard needsKick else { return }
        needsKick = false
        medium.storage?.kick()
    }

    func publish(_ session: Session) {
        if session.queue.publish() { session.interrupt.raise(VirtioInterrupt.usedBuffer) }
    }

    // MARK: Completion

    func complete(_ token: UInt64, _ result: Int32) {
        let index = Int(truncatingIfNeeded: token)
        guard let slot = slots[index] else { return }
        if result >= 0, slot.isWriteThrough, slot.phase == .working, session != nil {
            slots.update(index) { $0.phase = .hardening }
            medium.storage?.submit(BlockOperation(.flush, token: token))
            needsKick = true
            return
        }
        slots.release(index)
        guard let session else { return }
        if result >= 0 { return finish(session, head: slot.head, statusAddress: slot.status, BlockStatus.ok, written: slot.written) }
        // Linux stops asking after UNSUPP. A flush must never get it: file systems take it for success.
        let isUnsupported = result == -EOPNOTSUPP && slot.isRange && slot.phase == .working
        finish(session, head: slot.head, statusAddress: slot.status, isUnsupported ? BlockStatus.unsupported : BlockStatus.ioError, written: 0)
    }

    /// Writes the status and gives the chain back. The status comes before the used entry, which tells the driver to look at it.
    func finish(_ session: Session, head: UInt16, statusAddress: UInt, _ status: UInt8, written: UInt32) {
        GuestByte.store(status, statusAddress)
        // The data and the status; chains are below 2^32 bytes, so it does not wrap.
        session.queue.push(head: head, written: written &+ 1)
    }
}
