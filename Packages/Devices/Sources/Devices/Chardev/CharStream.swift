internal import LinuxSys
internal import Synchronization

/// Moves bytes between a client and the connection of the moment; what all backends share.
///
/// Output: `send` appends to a ring on the vCPU's thread; the loop writes whatever has gathered. It is woken for a first byte, and not again for those that follow
/// within `gatherTime`: a guest prints byte by byte, and to wake a thread and write for each costs more than the exit does.
/// Input: one read an event, never more than the client has room for; without room nothing is watched.
/// Locking: the state's lock is never held while the client, a closure or the peer is called.
final class CharStream: Sendable {
    /// Output held for the host.
    static let outputCapacity = 16384
    private static let readSize = 4096
    /// Nanoseconds.
    static let gatherTime: UInt64 = 1_000_000
    /// With so many bytes in the ring the loop is woken all the same.
    private static let gatherLimit = outputCapacity / 4
    /// What THRE promises a driver with FIFOs.
    private static let burst = 16
    /// Less than this in the time of `patience` counts as nothing: a peer that sips must not hold the guest up any longer than one that is asleep.
    private static let leastProgress: UInt64 = 1024
    /// Nanoseconds a client that sends in bulk waits for a peer when the byte path does not wait at all.
    private static let bulkPatience: UInt64 = 500_000_000

    enum Input { case none, active, paused, hungUp }
    /// What the client has been refused, and is to be told of.
    enum Wait: Equatable { case none, byte, bulk(OutputLoss) }

    struct State {
        var loop: EventLoop?
        var client: (any CharBackendClient)?
        var connection: CharConnection?
        var input = Input.none
        var ring = ByteRing(capacity: outputCapacity)
        var outputWatched = false
        /// Nobody will ever read the output of this connection again.
        var outputEnded = false
        var wakePending = false
        /// A timer will look at the ring: single bytes need not wake the loop.
        var isGathering = false
        /// What that timer calls.
        var gatherer: EventLoop.Callback?
        var resumeRequested = false
        var wait = Wait.none
        /// The peer has taken nothing for so long that output is dropped rather than held.
        var isStalled = false
        var stallTimer: EventLoop.TimerID?
        var written: UInt64 = 0
        /// What `written` was when the timer was last set.
        var gathered: UInt64 = 0
        var dropped: UInt64 = 0
        /// What the loop calls for the connection, and what it watches: the input, which is also the output of a duplex peer, and an output of its own.
        var callback: EventLoop.Callback?
        var watchedInput: Watched?
        var watchedOutput: Watched?
    }

    struct Watched: Equatable {
        let descriptor: Int32
        let events: EventLoop.Events
    }

    private let state = Mutex(State())
    private let wake: EventFD
    /// Nanoseconds for which a full ring makes the transmitter busy before output is dropped; 0 drops at once.
    private let patience: UInt64
    /// Called on the loop's thread when the peer is gone, or has hung up with input left to read.
    private let onHangUp: @Sendable () -> Void
    /// Buffers of the loop's thread, kept: nothing is allocated per read or write.
    private let inputBuffer = Mutex<[UInt8]>([])
    private let outputBuffer = Mutex<[UInt8]>([])

    init(patience: UInt64, onHangUp: @escaping @Sendable () -> Void = {}) throws(CharBackendError) {
        do throws(Errno) { wake = try EventFD() } catch { throw .eventLoop(error) }
        self.patience = patience
        self.onHangUp = onHangUp
    }

    var droppedBytes: UInt64 { state.withLock { $0.dropped } }

    func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError) {
        let isFirst = state.withLock { state in
            guard state.loop == nil else { return false }
            state.loop = loop
            state.client = client
            state.gatherer = EventLoop.Callback { [weak self] _ in self?.gathered() }
            return true
        }
        guard isFirst else { throw .alreadyStarted }
        do throws(Errno) {
            try loop.add(wake.raw, .readable) { [weak self] _ in self?.woken() }
        } catch { throw .eventLoop(error) }
    }

    /// Puts a peer in place of the one before, which is closed. The loop's thread, or before the loop runs.
    func attach(_ connection: CharConnection) {
        detach()
        state.withLock { state in
            state.connection = connection
            state.callback = EventLoop.Callback { [weak self] events in self?.ready(connection, events) }
            state.outputEnded = connection.output < 0
            state.input = connection.input >= 0 ? .active : .none
            updateWatches(&state)
        }
        wake.signal()  // what was queued before there was a peer
        state.withLock { $0.client }?.peerConnected()
    }

    /// Watches a peer that was attached before `start`.
    func watch() { state.withLock { updateWatches(&$0) } }

    /// Whether a peer is attached that has not hung up.
    var isConnected: Bool { state.withLock { $0.connection != nil && $0.input != .hungUp } }

    /// Whether a peer is attached; one that has hung up stays until its input is read.
    var hasPeer: Bool { state.withLock { $0.connection != nil } }

    // MARK: Any thread

    func send(_ byte: UInt8) -> Bool {
        let (signal, ready) = state.withLock { state -> (Bool, Bool) in
            guard state.connection != nil, !state.outputEnded, state.loop != nil else {
                state.dropped &+= 1
                return (false, true)
            }
            if !state.ring.append(byte) { state.dropped &+= 1 }
            let signal = !state.wakePending && !state.outputWatched && (!state.isGathering || state.ring.count >= Self.gatherLimit)
            if signal { state.wakePending = true }
            state.wait = .byte
            if mayGoOn(state) {
                state.wait = .none
                return (signal, true)
            }
            return (signal, false)
        }
        if signal { wake.signal() }
        return ready
    }

    func send(_ bytes: Span<UInt8>, _ loss: OutputLoss) -> Int {
        let (taken, signal) = state.withLock { state -> (Int, Bool) in
            guard state.connection != nil, !state.outputEnded, state.loop != nil else {
                state.dropped &+= UInt64(bytes.count)
                return (bytes.count, false)
            }
            var taken = state.ring.append(contentsOf: bytes)
            if taken < bytes.count {
                if loss == .allowed, state.isStalled {
                    state.dropped &+= UInt64(bytes.count - taken)
                    taken = bytes.count
                } else {
                    state.wait = .bulk(loss)
                }
            }
            let signal = !state.wakePending && !state.outputWatched
            if signal { state.wakePending = true }
            return (taken, signal)
        }
        if signal { wake.signal() }
        return taken
    }

    /// Whether a client that waits may send again. In bulk only when it is worth it.
    private func mayGoOn(_ state: borrowing State) -> Bool {
        switch state.wait {
        case .none: false
        case .byte: state.ring.room >= Self.burst || patience == 0 || state.isStalled
        case .bulk(let loss): state.ring.room >= Self.outputCapacity / 2 || (loss == .allowed && state.isStalled)
        }
    }

    func resumeReceiving() {
        let signal = state.withLock { state in
            guard state.input == .paused || state.input == .hungUp, !state.resumeRequested else { return false }
            state.resumeRequested = true
            return true
        }
        if signal { wake.signal() }
    }

    func stop() {
        let loop = state.withLock { $0.loop }
        loop?.remove(wake.raw)
        // A guest's last words before it powers off; a peer whose output may be dropped anyway gets less time.
        let deadline = Clock.monotonicNanoseconds() &+ (patience > 0 ? 200_000_000 : 50_000_000)
        while true {
            writeOut()
            let isDone = state.withLock { $0.connection == nil || $0.ring.isEmpty }
            if isDone || Clock.monotonicNanoseconds() >= deadline { break }
            Clock.sleep(nanoseconds: 1_000_000)
        }
        detach()
        state.withLock { state in
            if let timer = state.stallTimer { state.loop?.cancel(timer) }
            state.client = nil
            state.loop = nil
        }
    }

    /// Lets the peer go and drops what it has not taken. The loop's thread.
    func detach() {
        let old = state.withLock { state -> CharConnection? in
            let old = state.connection
            state.connection = nil
            state.input = .none
            state.outputWatched = false
            state.dropped &+= UInt64(state.ring.count)
            state.ring.removeAll()
            state.isStalled = false
            updateWatches(&state)
            state.callback = nil
            return old
        }
        if old != nil { state.withLock { $0.client }?.peerDisconnected() }
        tellClient()
        _ = consume old
    }

    // MARK: Loop's thread

    private func woken() {
        wake.drain()
        let resume = state.withLock { state in
            state.wakePending = false
            let resume = state.resumeRequested
            state.resumeRequested = false
            if resume, state.input == .paused {
                state.input = .active
                updateWatches(&state)
            }
            return resume && state.input == .hungUp
        }
        writeOut()
        gather()
        if resume { readRest() }
    }

    /// Leaves the bytes that come next to a timer, as long as it finds some each time.
    private func gather() {
        state.withLock { state in
            guard !state.isGathering, state.written != state.gathered, let loop = state.loop, let gatherer = state.gatherer else { return }
            state.isGathering = true
            state.gathered = state.written
            loop.after(nanoseconds: Self.gatherTime, calling: gatherer)
        }
    }

    private func gathered() {
        state.withLock { $0.isGathering = false }
        writeOut()
        gather()
    }

    private func ready(_ connection: CharConnection, _ events: EventLoop.Events) {
        // An event of the connection before this one may still be on its way.
        guard state.withLock({ $0.connection === connection }) else { return }
        if events.contains(.writable) || events.contains(.error) { writeOut() }
        let isOver = events.contains(.hangup) || events.contains(.error)
        switch state.withLock({ $0.connection === connection ? $0.input : .none }) {
        case .active where events.contains(.readable) || isOver: readOnce(connection)
        case .paused where isOver: hungUpWithInputLeft()
        default: break
        }
    }

    /// Level-triggered events would repeat for ever: stop watching, and read the rest when the client has room.
    private func hungUpWithInputLeft() {
        state.withLock { state in
            state.input = .hungUp
            updateWatches(&state)
        }
        onHangUp()
    }

    /// One read. True when bytes were delivered.
    @discardableResult
    private func readOnce(_ connection: CharConnection) -> Bool {
        guard let client = state.withLock({ $0.client }) else { return false }
        var room = client.receiveRoom()
        if room <= 0 {
            let wasActive = state.withLock { state in
                guard state.input == .active else { return false }
                state.input = .paused
                updateWatches(&state)
                return true
            }
            // Room that came up meanwhile would have found nothing to resume.
            room = client.receiveRoom()
            guard room > 0, wasActive else { return false }
            state.withLock { state in
                guard state.input == .paused else { return }
                state.input = .active
                updateWatches(&state)
            }
        }
        let limit = min(room, Self.readSize)
        var bytes = inputBuffer.withLock { buffer in
            defer { buffer = [] }
            return buffer
        }
        if bytes.count < limit { bytes = [UInt8](repeating: 0, count: limit) }
        defer { inputBuffer.withLock { $0 = bytes } }
        do throws(Errno) {
            let count = try connection.read(into: &bytes, limit: limit)
            guard count > 0 else {
                inputEnded(connection)
                return false
            }
            client.receive(bytes.prefix(count))
            return true
        } catch {
            if error != .again { inputEnded(connection) }
            return false
        }
    }

    private func readRest() {
        while let connection = state.withLock({ $0.input == .hungUp ? $0.connection : nil }), readOnce(connection) {}
    }

    /// End of input: the end of a duplex peer; standard output goes on without standard input.
    private func inputEnded(_ connection: CharConnection) {
        if connection.isDuplex {
            let wasKnown = state.withLock { $0.input == .hungUp }
            detach()
            if !wasKnown { onHangUp() }
        } else {
            state.withLock { state in
                state.input = .none
                updateWatches(&state)
            }
        }
    }

    private func writeOut() {
        // Bounded, so that a flood of output does not keep the loop from its other work.
        for _ in 0..<16 {
            guard let connection = state.withLock({ $0.connection }) else { return blocked(false) }
            // The loop's thread alone comes here, or who stops the stream after it: nobody waits for this lock.
            let result = outputBuffer.withLock { chunk -> Result<Int, Errno> in
                state.withLock { $0.ring.copyFirst(connection.largestWrite, into: &chunk) }
                guard !chunk.isEmpty else { return .success(0) }
                do throws(Errno) { return .success(try connection.write(chunk)) } catch { return .failure(error) }
            }
            switch result {
            case .success(0): return blocked(false)
            case .success(let count):
                state.withLock { state in
                    state.ring.removeFirst(count)
                    state.written &+= UInt64(clamping: count)
                    if state.ring.count <= Self.outputCapacity / 2 { state.isStalled = false }
                }
                tellClient()
            case .failure(.again): return blocked(true)
            case .failure(let error): return outputFailed(connection, error)
            }
        }
        wake.signal()
    }

    /// Waits for the peer to take more, and starts to lose patience with it; or stops waiting.
    private func blocked(_ isBlocked: Bool) {
        state.withLock { state in
            if state.outputWatched != isBlocked {
                state.outputWatched = isBlocked
                updateWatches(&state)
            }
            guard isBlocked, !state.isStalled, state.stallTimer == nil, let loop = state.loop else { return }
            let written = state.written
            let time = patience > 0 ? patience : Self.bulkPatience
            state.stallTimer = loop.after(nanoseconds: time) { [weak self] in self?.losePatience(written) }
        }
    }

    private func losePatience(_ writtenBefore: UInt64) {
        state.withLock { state in
            state.stallTimer = nil
            state.isStalled = state.outputWatched && state.written &- writtenBefore < Self.leastProgress
        }
        if state.withLock({ $0.outputWatched }) { blocked(true) }
        tellClient()
    }

    /// The error of a full disk may pass; a peer that is gone does not come back on this connection.
    private func outputFailed(_ connection: CharConnection, _ error: Errno) {
        let isPermanent = error == .brokenPipe || error == .io
        state.withLock { state in
            state.dropped &+= UInt64(state.ring.count)
            state.ring.removeAll()
            // A socket's input may still hold bytes, and its end is seen there.
            if isPermanent, !connection.isDuplex, state.connection === connection { state.outputEnded = true }
        }
        blocked(false)
        tellClient()
        if isPermanent, !connection.isDuplex { Log.warn("console output goes nowhere from now on: \(error)") }
    }

    private func tellClient() {
        let client = state.withLock { state -> (any CharBackendClient)? in
            guard mayGoOn(state) else { return nil }
            state.wait = .none
            return state.client
        }
        client?.transmitReady()
    }

    /// Makes the loop watch exactly what the state asks for. A descriptor that cannot be watched is treated as ended.
    private func updateWatches(_ state: inout State) {
        guard let loop = state.loop else { return }
        var input: EventLoop.Events?
        var output: EventLoop.Events?
        let connection = state.connection
        if let connection {
            if state.input == .active { input = .readable }
            // No events: hang-ups only, so that another client can have the socket.
            if state.input == .paused, connection.isDuplex { input = [] }
            if state.outputWatched { output = .writable }
            if connection.isDuplex, let events = output { (input, output) = ((input ?? []).union(events), nil) }
        }
        if !update(&state.watchedInput, connection?.input, input, loop, state.callback) {
            state.input = .none
            if connection?.isDuplex == true { state.outputWatched = false }
        }
        if !update(&state.watchedOutput, connection?.output, output, loop, state.callback) { state.outputWatched = false }
    }

    /// False when the loop does not watch it.
    private func update(
        _ watched: inout Watched?, _ descriptor: Int32?, _ events: EventLoop.Events?, _ loop: EventLoop, _ callback: EventLoop.Callback?
    ) -> Bool {
        var wanted: Watched?
        if let descriptor, let events { wanted = Watched(descriptor: descriptor, events: events) }
        guard watched != wanted else { return true }
        if let old = watched, old.descriptor != wanted?.descriptor {
            loop.remove(old.descriptor)
            watched = nil
        }
        guard let wanted, let callback else { return true }
        do throws(Errno) {
            if watched == nil { try loop.add(wanted.descriptor, wanted.events, calling: callback) } else { try loop.modify(wanted.descriptor, wanted.events) }
            watched = wanted
            return true
        } catch {
            return false
        }
    }
}
