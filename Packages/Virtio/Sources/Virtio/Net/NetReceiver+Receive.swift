internal import Glibc
internal import LinuxSys
internal import Synchronization

extension NetReceiver {
    private enum Supply {
        case enough
        /// The driver's queue is empty.
        case empty
        /// The window takes no more.
        case full
        /// Chains that are no buffers, a whole queue of them: others come first.
        case nonsense
    }

    /// Moves packets until there are none, the driver's buffers are used up, or it is somebody else's turn. All under the lock.
    func receive(_ live: Live, _ port: NetPort) -> QueueFault? {
        do throws(QueueFault) {
            let before = live.queue.counters.requests.value
            let isStarved = try move(live, port)
            publish(live)
            let count = live.queue.counters.requests.value &- before
            if count > 0 { Trace.emit(.netReceive, live.session.interrupt.device, count) }
            if isDead {
                unwatch()
            } else {
                setWatch(isStarved ? .paused : .reading, port)
                // The socket does not tell of frames that have been read from it already.
                if !isStarved, case .stream(let stream) = port, stream.reader.front != .incomplete { live.notification.signal() }
            }
            return nil
        } catch {
            return error
        }
    }

    /// True when only the driver can help: it has been asked to notify, and nothing was missed.
    private func move(_ live: Live, _ port: NetPort) throws(QueueFault) -> Bool {
        live.queue.disableNotifications()
        if case .stream(let stream) = port { stream.reader.isDrained = false }
        for _ in 0..<Self.packetsPerWake {
            let supply = try refill(live)
            if supply == .nonsense {
                live.notification.signal()
                return false
            }
            if live.waiting > 0 ? !settleWaiting(live, supply) : live.window.isEmpty {
                // The driver gives new buffers when it sees the used ones; whether it has done so since the ring was last read is looked at once more (CVE-2020-16843).
                publish(live)
                guard try live.queue.enableNotifications() else {
                    live.queue.counters.stalls.add()
                    startTimer(live)
                    return true
                }
                live.queue.disableNotifications()
                continue
            }
            if live.waiting > 0 || live.window.isEmpty { continue }
            guard readPacket(live, port) else { return false }
            // Long packets use up a ring in one turn: a driver that is shown them only then leaves us without buffers while it works, and we it without packets.
            if live.queue.unpublishedCount >= live.queue.size / 4 { publish(live) }
        }
        return false
    }

    /// Takes buffers until there are enough for any packet. One that a driver without MRG_RXBUF gives must hold a whole packet, so one is enough.
    private func refill(_ live: Live) throws(QueueFault) -> Supply {
        let wanted = max(live.lookahead, live.waiting)
        var left = Int(live.queue.size)
        while live.isMergeable ? live.window.bytes < wanted : live.window.isEmpty {
            guard left > 0 else { return .nonsense }
            guard try live.queue.pop(into: live.chain) else { return .empty }
            // Each buffer must hold a header (virtio 1.2, section 5.1.6.3.1). It goes back as it is: dropped silently, the driver would never have it again.
            guard live.chain.writableBytes >= UInt64(NetHeader.size) else {
                left &-= 1
                malformedChains.wrappingAdd(1, ordering: .relaxed)
                live.queue.push(head: live.chain.head, written: 0)
                continue
            }
            guard live.window.append(live.chain) else {
                live.queue.undoPop()
                return .full
            }
        }
        return .enough
    }

    /// False when the port has nothing now, or has failed.
    private func readPacket(_ live: Live, _ port: NetPort) -> Bool {
        switch port {
        case .tap(let tap): readPacket(live, tap)
        case .stream(let stream): readFrame(live, stream)
        }
    }

    private func readPacket(_ live: Live, _ tap: TapQueue) -> Bool {
        let (size, start) = live.window.read(from: tap)
        if size == -Int(EAGAIN) { return false }
        guard size > 0 else {
            isDead = true
            if tap.noteFailure() { Log.warn("a tap can be read no more: \(Errno(Int32(truncatingIfNeeded: 0 &- size)))") }
            return false
        }
        guard size >= NetHeader.size &+ NetHeader.ethernetSize, size <= NetHeader.maximumPacket else {
            droppedPackets.wrappingAdd(1, ordering: .relaxed)
            return true
        }
        if !filter.passesAll, !filter.accepts(live.window.frameHead(size: size, start: start)) {
            filteredPackets.wrappingAdd(1, ordering: .relaxed)
            return true
        }
        guard let count = live.window.buffersNeeded(for: size) else {
            if live.isMergeable {
                live.waiting = size
                live.waitingStart = start
                waitingNumber &+= 1
            } else {
                droppedPackets.wrappingAdd(1, ordering: .relaxed)
            }
            return true
        }
        live.window.unspill(from: start, size: size)
        deliver(live, count, size: size)
        return true
    }

    /// The header is whole before the driver gets the first of the buffers (CVE-2021-3748).
    private func deliver(_ live: Live, _ count: Int, size: Int) {
        live.window.store(UInt8(truncatingIfNeeded: count), at: NetHeader.bufferCountOffset)
        live.window.store(UInt8(truncatingIfNeeded: count >> 8), at: NetHeader.bufferCountOffset &+ 1)
        if !live.keepsFlags { live.window.store(0, at: NetHeader.flagsOffset) }
        live.window.pushFirst(count, size: size, to: live.queue)
    }

    // MARK: A packet that waits for buffers

    /// False when it has to go on waiting.
    private func settleWaiting(_ live: Live, _ supply: Supply) -> Bool {
        if let count = live.window.buffersNeeded(for: live.waiting) {
            if case .stream(let stream)? = port {
                deliver(live, count, from: stream.reader, length: live.waiting &- NetHeader.size)
            } else {
                live.window.unspill(from: live.waitingStart, size: live.waiting)
                deliver(live, count, size: live.waiting)
            }
            live.waiting = 0
            return true
        }
        // The driver has no more to give: it waits for us. Or more of what it gives cannot be kept.
        if supply == .full || live.window.isFull || live.window.bufferCount >= Int(live.queue.size) {
            drop(live)
            return true
        }
        return false
    }

    func drop(_ live: Live) {
        if case .stream(let stream)? = port { stream.reader.skip(live.waiting &- NetHeader.size) }
        live.waiting = 0
        droppedPackets.wrappingAdd(1, ordering: .relaxed)
    }

    /// A driver that keeps few buffers may wait for the packet that waits for its buffers: somebody has to give in.
    func startTimer(_ live: Live, turn: Int = 1) {
        guard live.waiting > 0, !hasTimer else { return }
        hasTimer = true
        let number = waitingNumber
        loop.after(nanoseconds: Self.patience) { [weak self] in self?.timerFired(number, turn: turn) }
    }

    private func publish(_ live: Live) {
        if live.queue.publish() { live.session.interrupt.raise(VirtioInterrupt.usedBuffer) }
    }

    // MARK: The port's watch

    private func setWatch(_ wanted: Watch, _ port: NetPort) {
        guard watch != wanted else { return }
        let events: EventLoop.Events = wanted == .reading ? .readable : []
        do throws(Errno) {
            if watch == .none {
                try loop.add(port.receiveDescriptor, events) { [weak self] events in self?.portReady(events) }
            } else {
                try loop.modify(port.receiveDescriptor, events)
            }
            watch = wanted
        } catch {
            isDead = true
            unwatch()
            if port.noteFailure() { Log.error("a network back end cannot be watched: \(error)") }
        }
    }

    func unwatch() {
        guard watch != .none, let port else { return }
        loop.remove(port.receiveDescriptor)
        watch = .none
    }
}
