internal import Glibc
internal import LinuxSys

/// From the host to the guest.
extension VirtioVsock {
    /// Puts a connection in the line of those that have something for the guest.
    func schedule(_ connection: VsockConnection) {
        if connection.hasWork { turns.append(connection.slot) }
    }

    private enum Outcome {
        /// Bytes of the chain, header and all.
        case written(Int)
        /// There was nothing to say after all.
        case nothing
        /// There is data, and no room for any behind the header.
        case tooSmall
    }

    /// Gives packets, one of each connection in its turn, until there is nothing to say, the guest has no buffers, or it is somebody else's turn.
    func givePackets(_ session: Session) throws(QueueFault) -> ServiceResult {
        guard let queue = session.receive else { return .idle }
        let chain = session.chain
        queue.disableNotifications()
        var packets = Self.packetsPerWake
        var bytes = Self.bytesPerWake
        while !resets.isEmpty || !turns.isEmpty {
            guard packets > 0, bytes > 0 else { return .again }
            packets &-= 1
            guard try queue.pop(into: chain) else {
                // Buffers that came since are used before any are waited for (CVE-2020-16843).
                guard try queue.enableNotifications() else { return .idle }
                queue.disableNotifications()
                continue
            }
            var outcome = Outcome.tooSmall
            if chain.writableBytes >= UInt64(VsockHeader.size) { outcome = give(session) }
            switch outcome {
            case .written(let count):
                bytes &-= count
                queue.push(head: chain.head, written: UInt32(clamping: count))
            case .nothing: queue.undoPop()
            case .tooSmall:
                // The driver has it back as it is: dropped silently, it would never have it again.
                droppedRequests &+= 1
                queue.push(head: chain.head, written: 0)
            }
            if packets % Self.packetsPerPublish == 0 { session.publish(queue) }
        }
        return .idle
    }

    private func give(_ session: Session) -> Outcome {
        if let reset = resets.popFirst() {
            var header = VsockHeader()
            header.sourceCID = reset.cid
            header.sourcePort = reset.hostPort
            header.destinationPort = reset.guestPort
            header.type = reset.type
            header.operation = VsockOperation.reset.rawValue
            return .written(write(header, session))
        }
        guard let slot = turns.popFirst(), let connection = table[slot] else { return .nothing }
        let outcome = give(connection, session)
        schedule(connection)
        return outcome
    }

    private func give(_ connection: VsockConnection, _ session: Session) -> Outcome {
        while true {
            if let (operation, shutdown) = connection.takeFirst() {
                let count = write(header(connection, operation, flags: shutdown.rawValue), session)
                if operation == .reset {
                    remove(connection)
                } else if shutdown == .both {
                    // The guest is to answer with a reset; one that does not has no connection either.
                    setDeadline(connection, patience)
                }
                return .written(count)
            }
            guard connection.canMoveData else { break }
            let room = session.chain.writableBytes &- UInt64(VsockHeader.size)
            guard room > 0 else { return .tooSmall }
            let length = min(Int(clamping: room), Int(connection.credit.available), Self.largestPacket)
            let result = session.vectors.receive(session.chain, skip: UInt64(VsockHeader.size), length: length, from: connection.socket)
            guard result <= 0 else {
                let count = UInt32(clamping: result)
                connection.credit.noteSent(count)
                connection.updateCredit()
                return .written(write(header(connection, .data, length: count), session) &+ result)
            }
            connection.isReadable = false
            if result != -Int(EAGAIN) {
                connection.hostShutdown.insert(.send)
                // ECONNRESET: a program that has not read all before it closed.
                if result < 0 { hostReadsNoMore(connection) }
            }
        }
        guard let operation = connection.takeLast() else { return .nothing }
        return .written(write(header(connection, operation), session))
    }

    /// Each packet tells the guest what it may send (virtio 1.2, section 5.10.6.3).
    private func header(_ connection: VsockConnection, _ operation: VsockOperation, flags: UInt32 = 0, length: UInt32 = 0) -> VsockHeader {
        var header = VsockHeader()
        header.sourceCID = Self.hostCID
        header.sourcePort = connection.hostPort
        header.destinationPort = connection.guestPort
        header.length = length
        header.operation = operation.rawValue
        header.flags = flags
        header.bufferSize = connection.credit.buffer
        header.forwarded = connection.credit.announce()
        connection.pending.remove(.creditUpdate)
        return header
    }

    /// Bytes of the header, which fits.
    private func write(_ header: VsockHeader, _ session: Session) -> Int {
        var header = header
        header.destinationCID = guestCID
        header.store(into: &session.header)
        let bytes = session.header
        return session.chain.copyIn(bytes.span)
    }
}
