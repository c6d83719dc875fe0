public import LinuxSys
internal import Synchronization

/// The log as a character device, output only: each complete line of the guest becomes an entry at level INFO, `ID: line`.
///
/// The guest is not trusted with the log: control bytes become dots, a line is cut into pieces of 512 bytes, and after a burst of 256 KiB it gets
/// 4 KiB a second. Lines beyond that are counted, and an entry says how many were left out. Empty lines are not entered.
public final class LogBackend: CharBackend {
    private static let capacity = 16384
    private static let burst = 16

    private struct State {
        var loop: EventLoop?
        var client: (any CharBackendClient)?
        var ring = ByteRing(capacity: capacity)
        var wakePending = false
        /// Room that the client waits for; 0 when it does not.
        var wanted = 0
        var dropped: UInt64 = 0
    }

    private let state = Mutex(State())
    private let lines: Mutex<LogLines>
    private let wake: EventFD

    /// `id` is the chardev's name, with which each entry begins.
    public convenience init(id: String) throws(CharBackendError) {
        try self.init(id: id, now: { Clock.monotonicNanoseconds() }, isEnabled: { Log.isEnabled(.info) }, write: { text in Log.info(text) })
    }

    init(
        id: String, now: @escaping @Sendable () -> UInt64, isEnabled: @escaping @Sendable () -> Bool, write: @escaping @Sendable (String) -> Void
    ) throws(CharBackendError) {
        do throws(Errno) { wake = try EventFD() } catch { throw .eventLoop(error) }
        lines = Mutex(LogLines(id: id, now: now, isEnabled: isEnabled, write: write))
    }

    public var isConnected: Bool { true }
    public var filename: String { "redirect-to-log" }
    public var droppedBytes: UInt64 { state.withLock { $0.dropped } &+ lines.withLock { $0.leftOutBytes } }

    public func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError) {
        let isFirst = state.withLock { state in
            guard state.loop == nil else { return false }
            state.loop = loop
            state.client = client
            return true
        }
        guard isFirst else { throw .alreadyStarted }
        do throws(Errno) {
            try loop.add(wake.raw, .readable) { [weak self] _ in self?.woken() }
        } catch { throw .eventLoop(error) }
    }

    public func send(_ byte: UInt8) -> Bool {
        let (signal, isReady) = state.withLock { state -> (Bool, Bool) in
            guard state.loop != nil, state.ring.append(byte) else {
                state.dropped &+= 1
                return (false, state.loop == nil)
            }
            let isReady = state.ring.room >= Self.burst
            if !isReady { state.wanted = Self.burst }
            defer { state.wakePending = true }
            return (!state.wakePending, isReady)
        }
        if signal { wake.signal() }
        return isReady
    }

    public func send(_ bytes: Span<UInt8>, _ loss: OutputLoss) -> Int {
        let (taken, signal) = state.withLock { state -> (Int, Bool) in
            guard state.loop != nil else {
                state.dropped &+= UInt64(bytes.count)
                return (bytes.count, false)
            }
            let taken = state.ring.append(contentsOf: bytes)
            if taken < bytes.count { state.wanted = Self.capacity / 2 }
            defer { state.wakePending = true }
            return (taken, !state.wakePending)
        }
        if signal { wake.signal() }
        return taken
    }

    public func resumeReceiving() {}

    public func stop() {
        let loop = state.withLock { state in
            defer {
                state.loop = nil
                state.client = nil
            }
            return state.loop
        }
        loop?.remove(wake.raw)
        writeOut()
        lines.withLock { $0.finish() }
    }

    private func woken() {
        wake.drain()
        state.withLock { $0.wakePending = false }
        writeOut()
        let client = state.withLock { state -> (any CharBackendClient)? in
            guard state.wanted > 0, state.ring.room >= state.wanted else { return nil }
            state.wanted = 0
            return state.client
        }
        client?.transmitReady()
    }

    /// Everything that has gathered, at most a ring full: writing an entry may take its time, and no lock of the senders is held meanwhile.
    private func writeOut() {
        lines.withLock { lines in
            state.withLock { state in
                state.ring.copyFirst(Self.capacity, into: &lines.input)
                state.ring.removeAll()
            }
            lines.takeInput()
        }
    }
}

/// Cuts bytes into lines and writes those that the guest may have.
private struct LogLines {
    static let longestLine = 512
    static let burstBytes: UInt64 = 256 << 10
    static let bytesPerSecond: UInt64 = 4 << 10
    /// What an entry costs besides its text: time, process, place, level.
    static let overhead: UInt64 = 96

    let id: String
    let now: @Sendable () -> UInt64
    let isEnabled: @Sendable () -> Bool
    let write: @Sendable (String) -> Void
    /// What is to be cut next; kept for its memory.
    var input: [UInt8] = []
    private(set) var leftOutBytes: UInt64 = 0
    private var line: [UInt8] = []
    private var tokens = burstBytes
    private var filledAt: UInt64
    private var leftOut: UInt64 = 0

    init(id: String, now: @escaping @Sendable () -> UInt64, isEnabled: @escaping @Sendable () -> Bool, write: @escaping @Sendable (String) -> Void) {
        self.id = id
        self.now = now
        self.isEnabled = isEnabled
        self.write = write
        filledAt = now()
    }

    mutating func takeInput() {
        for byte in input {
            if byte == 0x0a {
                endLine()
            } else {
                line.append(byte)
                if line.count >= Self.longestLine { endLine() }
            }
        }
        input.removeAll(keepingCapacity: true)
    }

    mutating func finish() {
        endLine()
        tellLeftOut()
    }

    private mutating func endLine() {
        if line.last == 0x0d { line.removeLast() }
        defer { line.removeAll(keepingCapacity: true) }
        guard !line.isEmpty, isEnabled() else { return }
        refill()
        let cost = UInt64(line.count) + Self.overhead
        guard tokens >= cost else {
            leftOut &+= 1
            leftOutBytes &+= UInt64(line.count)
            return
        }
        tellLeftOut()
        tokens -= min(cost, tokens)
        write("\(id): \(Self.text(line))")
    }

    private mutating func tellLeftOut() {
        guard leftOut > 0 else { return }
        write("\(id): \(leftOut) lines of the guest were left out, as they came too fast")
        leftOut = 0
        tokens -= min(2 * Self.overhead, tokens)
    }

    private mutating func refill() {
        let time = now()
        let elapsed = time > filledAt ? min(time - filledAt, 3_600_000_000_000) : 0
        let earned = elapsed / (1_000_000_000 / Self.bytesPerSecond)
        guard earned > 0 else { return }
        tokens = min(Self.burstBytes, tokens + earned)
        filledAt = time
    }

    /// C0 controls, DEL and the C1 controls of UTF-8 (ESC and CSI would drive the terminal of whoever reads the log) become dots; what is no UTF-8
    /// becomes U+FFFD.
    private static func text(_ line: [UInt8]) -> String {
        var text = String.UnicodeScalarView()
        for scalar in String(decoding: line, as: UTF8.self).unicodeScalars {
            let isControl = scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
            text.append(scalar == "\t" ? " " : isControl ? "." : scalar)
        }
        return String(text)
    }
}
