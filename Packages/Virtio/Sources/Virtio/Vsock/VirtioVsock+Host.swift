internal import Glibc
internal import LinuxSys

/// The host's sockets: who comes, who leaves, and whose patience ends.
extension VirtioVsock {
    static let listenerToken = UInt64.max
    static let timerToken = UInt64.max - 1
    /// Nanoseconds between two looks at all connections, at least: however many deadlines a guest makes, they cost little.
    private static let timerStep: UInt64 = 50_000_000
    /// Nanoseconds for which nobody is let in when the process is out of descriptors: who waits keeps the listener readable, and the loop would spin.
    private static let listenerPause: UInt64 = 100_000_000
    private static let acceptsPerWake = 16

    func hostEvent(_ token: UInt64, _ events: EventLoop.Events) {
        switch token {
        case Self.listenerToken: acceptPrograms()
        case Self.timerToken: timerExpired()
        default: if let connection = table.find(token: token) { socketEvent(connection, events) }
        }
    }

    private func socketEvent(_ connection: VsockConnection, _ events: EventLoop.Events) {
        let isGone = !events.isDisjoint(with: [.hangup, .error])
        if isGone || events.contains(.readable) { connection.isReadable = true }
        switch connection.phase {
        // A program that has gone waits for nobody.
        case .greeting: if isGone { remove(connection) } else { readGreeting(connection) }
        case .requesting: if isGone { abort(connection) }
        case .established, .flushing:
            if isGone {
                hostReadsNoMore(connection)
            } else if connection.isBlocked, events.contains(.writable) {
                sendBuffered(connection)
            }
            connection.updateCredit()
        case .resetting, .over: break
        }
        schedule(connection)
    }

    // MARK: Programs that connect

    private func acceptPrograms() {
        for _ in 0..<Self.acceptsPerWake {
            do throws(Errno) {
                let socket = try listener.accept()
                // One too many is let go at once, so that it knows.
                guard let connection = table.add(socket) else { continue }
                setDeadline(connection, patience)
                if !watch(connection) { remove(connection) }
            } catch {
                if error == .tooManyFiles || error == .noMemory || error.code == ENFILE || error.code == ENOBUFS { restListener() }
                return
            }
        }
    }

    func restListener() {
        isListening = false
        try? events.modify(listener.raw, [], token: Self.listenerToken)
        listenerRest = Clock.monotonicNanoseconds() &+ Self.listenerPause
        arm(listenerRest)
    }

    /// Looks at what has come without taking it: what follows the line is the guest's.
    private func readGreeting(_ connection: VsockConnection) {
        var bytes = [UInt8](repeating: 0, count: VsockGreeting.limit)
        let count = StreamIO.peek(connection.socket, into: &bytes)
        if count == -Int(EAGAIN) { return connection.isReadable = false }
        guard count > 0 else { return remove(connection) }
        switch VsockGreeting(bytes, count: count) {
        case .incomplete: break
        case .wrong: remove(connection)
        case .port(let port, let length):
            guard StreamIO.receive(connection.socket, into: &bytes, count: length) == length,
                table.setPorts(of: connection, host: table.takeHostPort(), guest: port)
            else { return remove(connection) }
            connection.request(credit: table.takeCredit(), deadline: 0)
            setDeadline(connection, patience)
        }
    }

    // MARK: Time

    func setDeadline(_ connection: VsockConnection, _ nanoseconds: UInt64) {
        connection.deadline = Clock.monotonicNanoseconds() &+ nanoseconds
        arm(connection.deadline)
    }

    private func arm(_ deadline: UInt64) {
        let now = Clock.monotonicNanoseconds()
        let deadline = max(deadline, now &+ Self.timerStep)
        guard timerDeadline == 0 || deadline < timerDeadline else { return }
        timerDeadline = deadline
        timer.arm(nanoseconds: timerDeadline &- now)
    }

    private func timerExpired() {
        timer.drain()
        timerDeadline = 0
        let now = Clock.monotonicNanoseconds()
        if !isListening, listenerRest <= now {
            isListening = true
            try? events.modify(listener.raw, .readable, token: Self.listenerToken)
        }
        var next = isListening ? UInt64.max : listenerRest
        var over: [VsockConnection] = []
        table.forEach { connection in
            guard connection.deadline != 0 else { return }
            if connection.deadline <= now { over.append(connection) } else { next = min(next, connection.deadline) }
        }
        if next != .max { arm(next) }
        for connection in over {
            switch connection.phase {
            // A guest that does not even take a reset gets another one when it speaks of the connection again.
            case .greeting, .flushing, .resetting, .over: remove(connection)
            case .requesting, .established: abort(connection)
            }
        }
    }

    // MARK: Ends

    /// The end of a connection, at once for the host; the guest is told when it has a buffer, if it has ever heard of it.
    func abort(_ connection: VsockConnection) {
        guard connection.isKnownToGuest else { return remove(connection) }
        if connection.phase == .resetting { return }
        close(connection)
        connection.reset(deadline: 0)
        setDeadline(connection, patience)
        schedule(connection)
    }

    func remove(_ connection: VsockConnection) {
        close(connection)
        connection.end()
        table.remove(connection)
    }

    private func close(_ connection: VsockConnection) {
        guard connection.socket >= 0 else { return }
        events.remove(connection.socket)
        connection.close()
    }

    // MARK: What is watched

    /// False when the host does not allow it.
    func watch(_ connection: VsockConnection) -> Bool {
        (try? events.add(connection.socket, [.readable, .once], token: connection.token)) != nil
    }

    /// Room in the socket is told of only while something waits for it: a program that reads would else wake this one for each piece.
    func watchBlocked(_ connection: VsockConnection, _ on: Bool) -> Bool {
        guard connection.isBlocked != on else { return true }
        connection.isBlocked = on
        let events: EventLoop.Events = on ? [.readable, .writable, .once] : [.readable, .once]
        return (try? self.events.modify(connection.socket, events, token: connection.token)) != nil
    }
}
