internal import Devices

/// The control queues (virtio 1.2, section 5.3.6.2). They exist on the wire without MULTIPORT too, and do nothing then.
extension VirtioConsole {
    // MARK: Guest to host

    func takeMessages(_ session: Session) -> ServiceResult {
        guard session.isMultiport, let queue = session.queue(.controlTransmit) else { return .idle }
        queue.disableNotifications()
        var left = queue.size
        do {
            while left > 0 {
                guard try queue.pop(into: chain) else {
                    if try queue.enableNotifications() { continue }
                    break
                }
                left &-= 1
                let message = ConsoleMessage(chain)
                queue.push(head: chain.head, written: 0)
                if message.map(obey) != true { droppedRequests &+= 1 }
            }
        } catch {
            return .fault(.needsReset(error))
        }
        session.publish(queue)
        var result = sendMessages(session)
        // What came from the host before the guest opened the port.
        for port in ports where port.isOpen && port.link.hasInput { result = result.joined(sendInput(of: port, session)) }
        // Not the last of a flood (the class of Firecracker issue 5260).
        return left == 0 ? result.joined(.again) : result
    }

    /// False when the message makes no sense.
    private func obey(_ message: ConsoleMessage) -> Bool {
        switch ConsoleEvent(rawValue: message.event) {
        case .deviceReady:
            // 0: the driver could not set the device up.
            for port in ports {
                port.forget()
                if message.value == 1 { port.pending.insert(.add) }
            }
            return true
        case .portReady:
            // The id is the guest's (the class of Cloud Hypervisor issue 7917: a selector used unchecked).
            guard let port = port(Int(message.port)) else { return false }
            if message.value == 1 { port.becomeReady() } else { port.forget() }
            return true
        case .portOpen:
            guard let port = port(Int(message.port)) else { return false }
            port.isOpen = message.value != 0
            port.updateOpen()
            return true
        case .deviceAdd, .deviceRemove, .consolePort, .resize, .portName, nil:
            return false
        }
    }

    // MARK: Host to guest

    /// Sends what is pending as far as the guest has given buffers; the rest waits.
    func sendMessages(_ session: Session) -> ServiceResult {
        guard session.isMultiport, let queue = session.queue(.controlReceive) else { return .idle }
        defer { session.publish(queue) }
        var left = queue.size
        do {
            for port in ports {
                while let message = port.pending.first {
                    guard left > 0 else { return .again }
                    queue.disableNotifications()
                    guard try queue.pop(into: chain) else {
                        if try queue.enableNotifications() { continue }
                        return .idle
                    }
                    left &-= 1
                    port.pending.remove(message)
                    send(message, of: port, in: queue)
                }
            }
        } catch {
            return .fault(.needsReset(error))
        }
        return .idle
    }

    private func send(_ message: ConsolePortState.Messages, of port: ConsolePortState, in queue: SplitQueue) {
        let event: ConsoleEvent
        var value: UInt16 = 1
        switch message {
        case .add: event = .deviceAdd
        case .console: event = .consolePort
        case .name: event = .portName
        case .close:
            event = .portOpen
            value = 0
            port.hasToldOpen = false
        default:
            event = .portOpen
            port.hasToldOpen = true
        }
        incoming.removeAll(keepingCapacity: true)
        for shift in stride(from: 0, to: 32, by: 8) { incoming.append(UInt8(truncatingIfNeeded: port.number >> shift)) }
        for field in [event.rawValue, value] {
            incoming.append(UInt8(truncatingIfNeeded: field))
            incoming.append(UInt8(truncatingIfNeeded: field >> 8))
        }
        // Without a terminating 0: the used length tells where the name ends.
        if message == .name { incoming.append(contentsOf: port.name) }
        let fits = UInt64(incoming.count) <= chain.writableBytes
        if fits { _ = chain.copyIn(incoming.span) } else { droppedRequests &+= 1 }
        queue.push(head: chain.head, written: fits ? UInt32(truncatingIfNeeded: incoming.count) : 0)
    }
}
