internal import BlockBackend
internal import Glibc

extension VirtioBlock {
    public func queueNotified(_ index: Int) -> ServiceResult {
        guard index == 0, let session else { return .idle }
        return serve(session)
    }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        storage.reap { token, result in complete(token, result) }
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
            let fault = takeRound(session)
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

    /// At most one queue full of requests.
    private func takeRound(_ session: Session) -> QueueFault? {
        let queue = session.queue
        var left = queue.size
        do {
            while left > 0, try queue.pop(into: chain) {
                left &-= 1
                guard start(session) else {
                    queue.undoPop()
                    isStalled = true
                    return nil
                }
            }
            return nil
        } catch {
            return error
        }
    }

    func kick() {
        guard needsKick else { return }
        needsKick = false
        storage.kick()
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
            storage.submit(BlockOperation(.flush, token: token))
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
