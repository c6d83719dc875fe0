extension VirtioNet {
    /// Commands of the control queue, at most a queue full.
    func serveControl(_ session: VirtioSession, _ index: Int) -> ServiceResult {
        guard index < session.queues.count, let queue = session.queues[index] else { return .idle }
        defer { if queue.publish() { session.interrupt.raise(VirtioInterrupt.usedBuffer) } }
        do {
            queue.disableNotifications()
            for _ in 0..<queue.size {
                if try queue.pop(into: controlChain) {
                    // The kernel takes milliseconds to switch queues: everybody else on the loop has a turn before the next command does.
                    if answer(session, queue) { return .again }
                } else if try !queue.enableNotifications() {
                    return .idle
                }
            }
            return .again
        } catch {
            return .fault(.needsReset(error))
        }
    }

    /// True when it took its time.
    private func answer(_ session: VirtioSession, _ queue: SplitQueue) -> Bool {
        // No room for an answer: the chain goes back as it is.
        guard controlChain.writableBytes > 0 else {
            droppedCommands &+= 1
            queue.push(head: controlChain.head, written: 0)
            return false
        }
        let pairs = activePairs
        let isDone = NetControlCommand(controlChain).map { perform($0, session) } ?? false
        if !isDone { droppedCommands &+= 1 }
        _ = controlChain.writePrefix([isDone ? NetControlCommand.acknowledged : NetControlCommand.refused])
        queue.push(head: controlChain.head, written: 1)
        return pairs != activePairs
    }

    /// False when the command was not negotiated, or asks for what is not there.
    private func perform(_ command: NetControlCommand, _ session: VirtioSession) -> Bool {
        guard session.features & command.feature != 0 else { return false }
        switch command {
        case .mode(let mode, let isOn):
            setFilter(filter.with(modes: isOn ? filter.modes.union(mode) : filter.modes.subtracting(mode)))
        case .addressTables(let unicast, let multicast):
            setFilter(filter.with(unicast: unicast, multicast: multicast))
        case .address(let mac):
            configuration.mac = mac
            setFilter(filter.with(mac: mac))
        case .vlan(let number, let isMember):
            setFilter(filter.with(vlan: number, isMember: isMember))
        case .queuePairs(let count):
            guard count <= pairs.count else { return false }
            if count == activePairs { return true }
            activePairs = count
            connect()
        }
        return true
    }
}
