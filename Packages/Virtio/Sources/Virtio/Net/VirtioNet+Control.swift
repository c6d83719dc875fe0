extension VirtioNet {
    /// Commands of the control queue, at most a queue full.
    func serveControl(_ session: VirtioSession, _ index: Int) -> ServiceResult {
        guard index < session.queues.count, let queue = session.queues[index] else { return .idle }
        defer { if queue.publish() { session.interrupt.raise(VirtioInterrupt.usedBuffer) } }
        do {
            queue.disableNotifications()
            for _ in 0..<queue.size {
                if try queue.pop(into: controlChain) {
                    answer(session, queue)
                } else if try !queue.enableNotifications() {
                    return .idle
                }
            }
            return .again
        } catch {
            return .fault(.needsReset(error))
        }
    }

    private func answer(_ session: VirtioSession, _ queue: SplitQueue) {
        // No room for an answer: the chain goes back as it is.
        guard controlChain.writableBytes > 0 else {
            droppedCommands &+= 1
            return queue.push(head: controlChain.head, written: 0)
        }
        let isDone = NetControlCommand(controlChain).map { perform($0, session) } ?? false
        if !isDone { droppedCommands &+= 1 }
        _ = controlChain.writePrefix([isDone ? NetControlCommand.acknowledged : NetControlCommand.refused])
        queue.push(head: controlChain.head, written: 1)
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
            activePairs = count
            connect()
        }
        return true
    }
}
