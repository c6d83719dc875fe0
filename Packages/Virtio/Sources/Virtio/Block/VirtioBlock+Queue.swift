internal import BlockBackend
internal import Glibc
internal import LinuxSys

extension VirtioBlock {
    public func queueNotified(_ index: Int) -> ServiceResult {
        guard let session else { return .idle }
        return serve(session, index)
    }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        medium.storage?.reap { token, result in complete(token, result) }
        guard let session else { return .idle }
        kick()
        publish(session)
        return serveStalled(session)
    }

    /// Takes requests until the queue is empty, the storage is full, or it is somebody else's turn.
    private func serve(_ session: Session, _ index: Int) -> ServiceResult {
        guard let queue = session.queue(index) else { return .idle }
        stalled.remove(index)
        for _ in 0..<Self.maximumRounds {
            queue.disableNotifications()
            // At most one queue full a round.
            var left = queue.size
            let fault = take(session, index, queue, &left)
            kick()
            reapAtHand()
            publish(session)
            if let fault { return .fault(.needsReset(fault)) }
            // A completion goes on from here; until then notifications tell nothing new.
            if stalled.contains(index) { return .idle }
            do {
                guard try queue.enableNotifications() else { return .idle }
            } catch {
                return .fault(.needsReset(error))
            }
        }
        return .again
    }

    /// What the host had at hand has ended by now: no need to be told. Where requests wait for room this is left to `eventSourceReady`, which goes on with them.
    private func reapAtHand() {
        guard stalled.isEmpty, let storage = medium.storage, storage.hasCompletions else { return }
        storage.reap { token, result in complete(token, result) }
        kick()
    }

    /// Goes on with the queues that have waited for room, each time beginning with another: one that is always full gets no more than its share.
    private func serveStalled(_ session: Session) -> ServiceResult {
        var waiting = stalled
        var outcome = ServiceResult.idle
        var start = turn
        turn = turn &+ 1 < session.queues.count ? turn &+ 1 : 0
        while let index = waiting.first(from: start) {
            waiting.remove(index)
            start = index
            switch serve(session, index) {
            case .idle, .configurationChanged: break
            case .again: outcome = .again
            case .fault(let fault): return .fault(fault)
            }
        }
        return outcome
    }

    /// At most `left` requests.
    private func take(_ session: Session, _ index: Int, _ queue: SplitQueue, _ left: inout UInt16) -> QueueFault? {
        if stopping.contains(index) { return nil }
        do {
            while left > 0, try queue.pop(into: chain) {
                guard start(session, index) else {
                    queue.undoPop()
                    stalled.insert(index)
                    return nil
                }
                left &-= 1
            }
            return nil
        } catch {
            return error
        }
    }

    /// Serves what is in the queues now, at most one queue full of each, and waits until it has ended.
    func finishQueued() {
        guard let session else { return reset() }
        // A guest that goes on queueing while its disk is taken away does not hold this up; each round ends at least one request.
        var left = session.queues.map { $0?.size ?? 0 }
        for _ in 0...left.reduce(0, { $0 + Int($1) }) {
            stalled = .none
            for index in left.indices {
                guard let queue = session.queue(index) else { continue }
                if let fault = take(session, index, queue, &left[index]) { session.control.requestReset(fault) }
            }
            kick()
            medium.storage?.drain { token, result in complete(token, result) }
            needsKick = false
            publish(session)
            if stalled.isEmpty { break }
        }
        stalled = .none
        // Whatever came after the last look is the next storage's, and `update` has the queues looked at again.
    }

    func kick() {
        guard needsKick else { return }
        needsKick = false
        medium.storage?.kick()
    }

    /// Shows the driver what was given back: one interrupt for all queues, since virtio-mmio has but one.
    func publish(_ session: Session) {
        var isWanted = false
        while let index = unpublished.first(from: 0) {
            unpublished.remove(index)
            if session.queue(index)?.publish() ?? false { isWanted = true }
        }
        if isWanted { session.interrupt.raise(VirtioInterrupt.usedBuffer) }
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
        count(slot, result)
        guard let session else { return }
        let answer: UInt8
        if result >= 0 {
            answer = BlockStatus.ok
        } else {
            // Linux stops asking after UNSUPP. A flush must never get it: file systems take it for success.
            answer = result == -EOPNOTSUPP && slot.isRange && slot.phase == .working ? BlockStatus.unsupported : BlockStatus.ioError
        }
        finish(session, Int(slot.queue), head: slot.head, statusAddress: slot.status, answer, written: result >= 0 ? slot.written : 0)
    }

    private func count(_ slot: RequestSlot, _ result: Int32) {
        let kind = BlockStatistics.Kind(slot.kind)
        if result >= 0 {
            counted.end(kind, offset: slot.offset, bytes: slot.length, start: slot.start)
        } else {
            counted.fail(kind, start: slot.start)
        }
    }

    /// Writes the status and gives the chain back. The status comes before the used entry, which tells the driver to look at it.
    func finish(_ session: Session, _ index: Int, head: UInt16, statusAddress: UInt, _ status: UInt8, written: UInt32) {
        Trace.emit(.blockEnd, session.interrupt.device, UInt64(index), UInt64(status), UInt64(written))
        GuestByte.store(status, statusAddress)
        // The data and the status; chains are below 2^32 bytes, so it does not wrap.
        giveBack(session, index, head: head, written: written &+ 1)
    }

    func giveBack(_ session: Session, _ index: Int, head: UInt16, written: UInt32) {
        session.queue(index)?.push(head: head, written: written)
        unpublished.insert(index)
    }
}
