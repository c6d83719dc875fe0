internal import Glibc
internal import LinuxSys
internal import Synchronization

/// Frames into a stream, many with one call. All under the lock.
extension NetTransmitter {
    /// True when there is more, and others come first.
    func moveFrames(_ live: Live, _ stream: FrameStream) throws(QueueFault) -> Bool {
        live.queue.disableNotifications()
        defer { if stream.writer.holdsMemory, !hasIdleTimer { startIdleTimer(stream) } }
        var left = Self.packetsPerWake
        while left > 0 {
            guard finishFrame(stream) else { return false }
            let count = try gather(live, stream, limit: left)
            guard count > 0 else {
                // What came since is served before anything is waited for.
                guard try live.queue.enableNotifications() else { return false }
                live.queue.disableNotifications()
                left &-= 1
                continue
            }
            left &-= count
            guard send(live, stream) else { return false }
            publish(live)
        }
        return true
    }

    /// Chains into the batch, or one into the writer; how many.
    private func gather(_ live: Live, _ stream: FrameStream, limit: Int) throws(QueueFault) -> Int {
        let batch = live.batch
        batch.clear()
        while batch.count < limit, !batch.isFull, try live.queue.pop(into: live.chain) {
            switch batch.append(live.chain, features: live.session.features) {
            case .taken: continue
            case .malformed: malformedPackets.wrappingAdd(1, ordering: .relaxed)
            case .unfinished(let header) where batch.count == 0:
                if !stream.hasFailed, !stream.writer.keepFrames(of: live.chain, header) { malformedPackets.wrappingAdd(1, ordering: .relaxed) }
                live.queue.push(head: live.chain.head, written: 0)
                return 1
            case .full, .unfinished:
                // Walked and checked again for the next batch.
                live.queue.undoPop()
                return batch.count
            }
        }
        return batch.count
    }

    /// False when the socket takes no more now; what it did not take is in the queue again.
    private func send(_ live: Live, _ stream: FrameStream) -> Bool {
        let batch = live.batch
        guard batch.count > 0 else { return true }
        var result = stream.hasFailed ? -Int(EPIPE) : batch.send(to: stream.writer)
        if result == -Int(EAGAIN) { result = 0 }
        if result >= 0, batch.complete(result, on: live.queue, stream.writer) {
            let isSent = batch.completed == batch.count && stream.writer.isEmpty
            batch.putBack(on: live.queue)
            return isSent || !wait(for: stream)
        }
        // Nobody is there: lost, as on a wire.
        stream.fail(.error(result < 0 ? Errno(Int32(truncatingIfNeeded: 0 &- result)) : .noMemory))
        refusedPackets.wrappingAdd(UInt64(batch.count &- batch.completed), ordering: .relaxed)
        _ = batch.complete(.max, on: live.queue, stream.writer)
        return true
    }

    /// The rest of a frame of which the socket has taken a part comes before anything else. False when it has to wait.
    private func finishFrame(_ stream: FrameStream) -> Bool {
        guard !stream.hasFailed else { return true }
        switch stream.writer.flush() {
        case .done: return true
        case .full: return !wait(for: stream)
        case .failed(let error):
            stream.fail(.error(error))
            return true
        }
    }

    /// False when nobody would tell that the socket takes more: then the connection is of no use.
    private func wait(for stream: FrameStream) -> Bool {
        if block() { return true }
        stream.fail(.error(.noMemory))
        return false
    }

    /// Looks again when nothing may have been kept for a while.
    private func startIdleTimer(_ stream: FrameStream) {
        hasIdleTimer = true
        let uses = stream.writer.uses
        loop.after(nanoseconds: NetReceiver.idleTime) { [weak self, weak stream] in self?.idleTimerFired(stream, uses: uses) }
    }

    /// Under the lock.
    func idled(_ stream: FrameStream?, uses: UInt64, _ current: FrameStream) {
        if current === stream, current.writer.uses == uses { current.writer.releaseIfEmpty() }
        if current.writer.holdsMemory { startIdleTimer(current) }
    }
}
