public import Devices
public import LinuxSys
internal import Synchronization

/// The host's side of a `VirtioConsole`: its back ends. Any thread may keep it; the device itself belongs to its transport.
public final class ConsoleHost: Sendable {
    let wake: EventFD
    let links: [ConsoleLink]

    init(_ backends: [any CharBackend]) throws(Errno) {
        let wake = try EventFD()
        self.wake = wake
        links = backends.map { ConsoleLink($0, wake: wake) }
    }

    /// Connects the back ends; bytes flow once the loop runs. Those that have begun are stopped again when one fails.
    public func start(on loop: EventLoop) throws(CharBackendError) {
        for (index, link) in links.enumerated() {
            do throws(CharBackendError) { try link.start(on: loop) } catch {
                for started in links[..<index] { started.backend.stop() }
                throw error
            }
        }
    }

    /// Writes out what is left, within a fifth of a second each, and lets the back ends go. The loop's thread, or any after the loop has ended.
    public func stop() {
        for link in links { link.backend.stop() }
    }
}

/// One back end and what has come from it. The device looks at it under the transport's lock, the back end calls it on the loop's thread: this lock is the
/// innermost.
final class ConsoleLink: CharBackendClient {
    /// Bytes held for the guest; beyond that the back end stops reading (CVE-2020-27174 was a queue without such a limit).
    static let inputCapacity = 4096

    struct Events: OptionSet {
        let rawValue: UInt8
        static let input = Events(rawValue: 1)
        static let output = Events(rawValue: 2)
        /// The peer came or left.
        static let peer = Events(rawValue: 4)
    }

    private struct State {
        var input = ByteRing(capacity: inputCapacity)
        var events: Events = []
        var isConnected = false
        /// A peer has left since the device last asked.
        var hasLeft = false
    }

    let backend: any CharBackend
    private let wake: EventFD
    private let state = Mutex(State())

    init(_ backend: any CharBackend, wake: EventFD) {
        self.backend = backend
        self.wake = wake
    }

    func start(on loop: EventLoop) throws(CharBackendError) {
        try backend.start(on: loop, client: self)
        // The loop may have told already; it told the same.
        if backend.isConnected { tell(.peer) { $0.isConnected = true } }
    }

    // MARK: Back end, the loop's thread

    func receiveRoom() -> Int { state.withLock { $0.input.room } }
    func receive(_ bytes: ArraySlice<UInt8>) { tell(.input) { _ = $0.input.append(contentsOf: bytes.span) } }
    func transmitReady() { tell(.output) { _ in } }
    func peerConnected() { tell(.peer) { $0.isConnected = true } }

    func peerDisconnected() {
        tell(.peer) { state in
            state.isConnected = false
            state.hasLeft = true
        }
    }

    private func tell(_ event: Events, _ change: (inout State) -> Void) {
        let isNew = state.withLock { state in
            change(&state)
            defer { state.events.insert(event) }
            return !state.events.contains(event)
        }
        if isNew { wake.signal() }
    }

    // MARK: Device

    func takeEvents() -> Events {
        state.withLock { state in
            defer { state.events = [] }
            return state.events
        }
    }

    var isConnected: Bool { state.withLock { $0.isConnected } }
    var hasInput: Bool { state.withLock { !$0.input.isEmpty } }

    /// True once for each time the peer has left.
    func takeHasLeft() -> Bool {
        state.withLock { state in
            defer { state.hasLeft = false }
            return state.hasLeft
        }
    }

    func copyInput(into buffer: inout [UInt8]) { state.withLock { $0.input.copyFirst(Self.inputCapacity, into: &buffer) } }

    /// The guest has the first `count` bytes.
    func removeInput(_ count: Int) {
        let wantsMore = state.withLock { state in
            state.input.removeFirst(count)
            return state.input.count <= Self.inputCapacity / 2
        }
        if wantsMore { backend.resumeReceiving() }
    }
}
