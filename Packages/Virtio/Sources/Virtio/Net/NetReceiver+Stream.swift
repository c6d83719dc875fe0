internal import Glibc
internal import LinuxSys
internal import Synchronization

/// Frames from a stream: read many at a time into the connection's buffer, and copied from there. A frame stays in it until the driver has buffers for it, and
/// while it does the socket is not read: the peer has to wait. All under the lock.
extension NetReceiver {
    /// False when there is no whole frame now, or the connection has ended.
    func readFrame(_ live: Live, _ stream: FrameStream) -> Bool {
        let reader = stream.reader
        if reader.front == .incomplete, !fill(stream) { return false }
        let length: Int
        switch reader.front {
        case .frame(let found): length = found
        case .incomplete: return false
        case .tooLong(let claim): return end(stream, .tooLong(claim))
        }
        guard length >= NetHeader.ethernetSize else {
            reader.skip(length)
            droppedPackets.wrappingAdd(1, ordering: .relaxed)
            return true
        }
        if !filter.passesAll, !filter.accepts(reader.head(length)) {
            reader.skip(length)
            filteredPackets.wrappingAdd(1, ordering: .relaxed)
            return true
        }
        let size = NetHeader.size &+ length
        if let count = live.window.buffersNeeded(for: size) {
            deliver(live, count, from: reader, length: length)
        } else if live.isMergeable {
            live.waiting = size
            waitingNumber &+= 1
        } else {
            reader.skip(length)
            droppedPackets.wrappingAdd(1, ordering: .relaxed)
        }
        return true
    }

    /// The header is whole before the driver gets the first of the buffers (CVE-2021-3748).
    func deliver(_ live: Live, _ count: Int, from reader: FrameReader, length: Int) {
        reader.copy(length, into: live.window, buffers: count)
        reader.skip(length)
        live.window.pushFirst(count, size: NetHeader.size &+ length, to: live.queue)
    }

    private func fill(_ stream: FrameStream) -> Bool {
        // The loop tells when there is more.
        guard !stream.reader.isDrained else { return false }
        let result = stream.reader.fill()
        if result == -Int(EAGAIN) { return false }
        guard result > 0 else { return end(stream, result == 0 ? .hungUp : .error(Errno(Int32(truncatingIfNeeded: 0 &- result)))) }
        if !hasIdleTimer { startIdleTimer(stream) }
        return true
    }

    private func end(_ stream: FrameStream, _ reason: FrameStream.Failure) -> Bool {
        isDead = true
        stream.fail(reason)
        return false
    }

    /// Looks again when the connection may have been idle for a while.
    func startIdleTimer(_ stream: FrameStream) {
        hasIdleTimer = true
        let fills = stream.reader.fills
        loop.after(nanoseconds: Self.idleTime) { [weak self, weak stream] in self?.idleTimerFired(stream, fills: fills) }
    }
}
