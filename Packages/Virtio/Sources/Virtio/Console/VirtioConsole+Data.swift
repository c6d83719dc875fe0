internal import Devices

/// The ports' queues (virtio 1.2, section 5.3.6).
extension VirtioConsole {
    // MARK: Guest to host

    /// Nil: a port that is not configured, whose driver must get its buffers back all the same (Linux waits for them with its processor).
    func takeOutput(of port: ConsolePortState?, _ number: Int, _ session: Session) -> ServiceResult {
        guard let queue = session.queue(.transmit(port: number)) else { return .idle }
        defer { session.publish(queue) }
        queue.disableNotifications()
        var budget = Self.outputBudget
        do {
            while true {
                guard try queue.pop(into: chain) else {
                    if try queue.enableNotifications() { continue }
                    return .idle
                }
                guard let port, chain.readableBytes > 0 else {
                    // Nothing for the device to read: the driver has it back as it is (the class of Cloud Hypervisor PR 8401).
                    droppedRequests &+= 1
                    queue.push(head: chain.head, written: 0)
                    budget &-= Self.pieceSize
                    guard budget > 0 else { return .again }
                    continue
                }
                let isDone = sendChain(port, &budget)
                if isDone {
                    port.sent = 0
                    queue.push(head: chain.head, written: 0)
                } else {
                    queue.undoPop()
                }
                if budget <= 0 { return .again }
                // The back end tells when it takes more.
                if !isDone { return .idle }
            }
        } catch {
            return .fault(.needsReset(error))
        }
    }

    /// True when the back end has all of it.
    private func sendChain(_ port: ConsolePortState, _ budget: inout Int) -> Bool {
        let loss: OutputLoss = port.kind == .console ? .allowed : .never
        // The chain may be another than when its first part was sent: it is the guest that garbles its own output then.
        while port.sent < chain.readableBytes {
            // However long overlapping descriptors make a chain (the class of Firecracker PR 5762), it is taken in small pieces.
            guard budget > 0 else { return false }
            let count = chain.copyOut(from: port.sent, into: &piece, limit: Self.pieceSize)
            guard count > 0 else { break }
            let taken = port.link.backend.send(piece.span.extracting(0..<count), loss)
            port.sent &+= UInt64(taken)
            // Small buffers cost something too.
            budget &-= max(taken, 256)
            if taken < count { return false }
        }
        return true
    }

    // MARK: Host to guest

    func sendInput(of port: ConsolePortState, _ session: Session) -> ServiceResult {
        guard !session.isMultiport || port.isOpen, let queue = session.queue(.receive(port: port.number)) else { return .idle }
        defer { session.publish(queue) }
        queue.disableNotifications()
        var left = queue.size
        do {
            while true {
                port.link.copyInput(into: &incoming)
                guard !incoming.isEmpty else { break }
                guard left > 0 else { return .again }
                guard try queue.pop(into: chain) else {
                    if try queue.enableNotifications() { continue }
                    return .idle
                }
                left &-= 1
                let count = chain.copyIn(incoming.span)
                // A buffer that cannot be written goes back; the bytes wait for a better one.
                if count == 0 { droppedRequests &+= 1 }
                port.link.removeInput(count)
                queue.push(head: chain.head, written: UInt32(truncatingIfNeeded: count))
            }
        } catch {
            return .fault(.needsReset(error))
        }
        // The end of the connection waited for the end of the data.
        return session.isMultiport ? peerChanged(port, session) : .idle
    }

    func peerChanged(_ port: ConsolePortState, _ session: Session) -> ServiceResult {
        port.updateOpen()
        return port.pending.isEmpty ? .idle : sendMessages(session)
    }
}
