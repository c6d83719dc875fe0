internal import Glibc
internal import LinuxSys

/// From the guest to the host.
extension VirtioVsock {
    /// Takes packets until there are none, or it is somebody else's turn.
    func takePackets(_ session: Session) throws(QueueFault) -> ServiceResult {
        session.isHeld = false
        guard let queue = session.transmit else { return .idle }
        let chain = session.chain
        queue.disableNotifications()
        var packets = Self.packetsPerWake
        var bytes = Self.bytesPerWake
        while packets > 0, bytes > 0 {
            guard resets.hasRoom else {
                session.isHeld = true
                return .idle
            }
            packets &-= 1
            guard try queue.pop(into: chain) else {
                // What came since is taken before anything is waited for (CVE-2020-16843).
                guard try queue.enableNotifications() else { return .idle }
                queue.disableNotifications()
                continue
            }
            bytes &-= Int(clamping: chain.readableBytes)
            take(session)
            queue.push(head: chain.head, written: 0)
            if packets % Self.packetsPerPublish == 0 { session.publish(queue) }
        }
        return .again
    }

    /// The packet in the session's chain. The header is copied once, whatever pieces it is in.
    private func take(_ session: Session) {
        let chain = session.chain
        guard chain.copyOut(from: 0, into: &session.header, limit: VsockHeader.size) == VsockHeader.size, let header = VsockHeader(session.header),
            // Somebody else's address is not the guest's to use.
            header.sourceCID == guestCID
        else {
            droppedRequests &+= 1
            return
        }
        guard header.destinationCID == Self.hostCID, header.type == VsockHeader.streamType else { return answerReset(header) }
        guard let connection = table.find(hostPort: header.destinationPort, guestPort: header.sourcePort) else {
            if header.operation == VsockOperation.request.rawValue { connect(header) } else { answerReset(header) }
            return
        }
        take(header, for: connection, session)
        schedule(connection)
    }

    /// Never an answer to a reset: two sides that know nothing of each other would go on for ever.
    private func answerReset(_ header: VsockHeader) {
        guard header.operation != VsockOperation.reset.rawValue else { return }
        resets.append(
            VsockResets.Reset(cid: header.destinationCID, hostPort: header.destinationPort, guestPort: header.sourcePort, type: header.type))
    }

    /// The guest asks for a connection.
    private func connect(_ header: VsockHeader) {
        guard !table.isFull, let socket = try? listener.connect(port: header.destinationPort), let connection = table.add(socket) else { return answerReset(header) }
        guard table.setPorts(of: connection, host: header.destinationPort, guest: header.sourcePort), watch(connection) else {
            remove(connection)
            return answerReset(header)
        }
        connection.accept(credit: table.takeCredit())
        connection.credit.learn(buffer: header.bufferSize, forwarded: header.forwarded)
        schedule(connection)
    }

    private func take(_ header: VsockHeader, for connection: VsockConnection, _ session: Session) {
        let operation = VsockOperation(rawValue: header.operation)
        switch connection.phase {
        case .greeting, .flushing, .over: return
        case .resetting:
            // It is told all the same, whatever it says now.
            if operation == .reset { remove(connection) }
            return
        case .requesting:
            switch operation {
            case .response where !connection.pending.contains(.request): establish(connection, header)
            case .reset: remove(connection)
            default: abort(connection)
            }
            return
        case .established: break
        }
        connection.credit.learn(buffer: header.bufferSize, forwarded: header.forwarded)
        switch operation {
        case .data: takeData(header, for: connection, session)
        case .creditUpdate: break
        case .creditRequest: connection.pending.insert(.creditUpdate)
        case .shutdown:
            connection.guestShutdown.formUnion(VsockShutdown(rawValue: header.flags).intersection(.both))
            applyShutdown(connection)
        case .reset: leave(connection)
        case .request, .response, nil: abort(connection)
        }
        connection.updateCredit()
    }

    private func establish(_ connection: VsockConnection, _ header: VsockHeader) {
        connection.establish()
        connection.credit.learn(buffer: header.bufferSize, forwarded: header.forwarded)
        // The first bytes that this socket ever gets: they fit.
        let answer = VsockGreeting.answer(connection.hostPort)
        guard StreamIO.send(connection.socket, answer) == answer.count else { return abort(connection) }
        connection.updateCredit()
    }

    // MARK: Data

    private func takeData(_ header: VsockHeader, for connection: VsockConnection, _ session: Session) {
        let skip = UInt64(VsockHeader.size)
        let length = header.length
        // A length beyond the chain (the class of CVE-2019-18960), more than was promised, or more after the last: the stream is broken, and its end has to be seen.
        guard UInt64(length) <= session.chain.readableBytes &- skip, !connection.guestShutdown.contains(.send), connection.credit.noteReceived(length) else {
            droppedRequests &+= 1
            return abort(connection)
        }
        guard !connection.hostShutdown.contains(.receive) else { return connection.credit.noteForwarded(length) }
        var sent = 0
        if connection.buffer == nil {
            sent = session.vectors.send(session.chain, skip: skip, length: Int(length), to: connection.socket)
            if sent < 0, sent != -Int(EAGAIN) {
                connection.credit.noteForwarded(length)
                return hostReadsNoMore(connection)
            }
            sent = max(sent, 0)
            connection.credit.noteForwarded(UInt32(clamping: sent))
        }
        guard sent < Int(length) else { return }
        if connection.buffer == nil { connection.buffer = try? VsockBuffer(capacity: Int(connection.credit.buffer)) }
        guard connection.buffer?.append(session.chain, skip: skip &+ UInt64(sent), length: Int(length) &- sent) == true, watchBlocked(connection, true) else {
            return abort(connection)
        }
    }

    /// The socket takes more.
    func sendBuffered(_ connection: VsockConnection) {
        while let result = connection.buffer?.send(to: connection.socket) {
            guard result > 0 else {
                if result != -Int(EAGAIN) { hostReadsNoMore(connection) }
                return
            }
            connection.credit.noteForwarded(UInt32(clamping: result))
            if connection.buffer?.isEmpty == true { connection.buffer = nil }
        }
        if connection.isBlocked, !watchBlocked(connection, false) { return abort(connection) }
        if connection.phase == .flushing { return remove(connection) }
        applyShutdown(connection)
        connection.updateCredit()
    }

    /// The program of the host has closed its socket, or will not read from it.
    func hostReadsNoMore(_ connection: VsockConnection) {
        if connection.phase == .flushing { return remove(connection) }
        guard connection.hostShutdown.insert(.receive).inserted else { return }
        let lost = connection.buffer?.count ?? 0
        connection.buffer = nil
        connection.credit.noteForwarded(UInt32(clamping: lost))
        applyShutdown(connection)
        connection.updateCredit()
    }

    // MARK: Ends

    /// Does for the host's socket what the guest has said, once what it sent before is out. When it will neither send nor receive, the connection is over, and a
    /// reset says so (virtio 1.2, section 5.10.6.5).
    private func applyShutdown(_ connection: VsockConnection) {
        guard connection.phase == .established else { return }
        let isSent = connection.buffer == nil
        let shutdown = connection.guestShutdown
        if shutdown == .both, isSent { return abort(connection) }
        // Neither wants what the other has left to say.
        if shutdown.contains(.receive), connection.hostShutdown.contains(.receive) { connection.hostShutdown = .both }
        // Once: the kernel tells of each call as if something had happened.
        let new = shutdown.subtracting(connection.doneShutdown).subtracting(isSent ? [] : .send)
        connection.doneShutdown.formUnion(new)
        StreamIO.shutDown(connection.socket, receiving: new.contains(.receive), sending: new.contains(.send))
    }

    /// The guest has closed its side. What it sent before that is the host's all the same.
    private func leave(_ connection: VsockConnection) {
        guard connection.buffer != nil else { return remove(connection) }
        table.forgetPorts(of: connection)
        connection.flush()
        StreamIO.shutDown(connection.socket, receiving: true, sending: false)
    }
}
