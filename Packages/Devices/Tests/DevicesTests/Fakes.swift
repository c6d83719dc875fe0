import AddressSpace
import Hypervisor
import LinuxSys
import Synchronization

@testable import Devices

/// Counts edges, and knows the level.
final class FakeLine: InterruptLine {
    let gsi: UInt32
    private let count = Atomic<Int>(0)
    private let isHigh = Atomic<Bool>(false)
    private let calls = Atomic<Int>(0)
    init(gsi: UInt32 = 0) { self.gsi = gsi }
    func pulse() { count.add(1, ordering: .relaxed) }
    func set(level: Bool) {
        isHigh.store(level, ordering: .relaxed)
        calls.add(1, ordering: .relaxed)
    }
    var level: Bool { isHigh.load(ordering: .relaxed) }
    /// How often `set` was called: system calls.
    var levelCalls: Int { calls.load(ordering: .relaxed) }
    var pulses: Int { count.load(ordering: .relaxed) }
    /// Edges since the last call.
    func take() -> Int { count.exchange(0, ordering: .relaxed) }
}

/// Keeps what is sent; `ready` is the answer.
final class FakeBackend: CharBackend {
    struct State {
        var sent: [UInt8] = []
        var ready = true
        var resumed = 0
        /// Bytes that are taken before `ready` becomes false by itself.
        var room = Int.max
    }
    let state = Mutex(State())
    func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError) {}
    func send(_ byte: UInt8) -> Bool {
        state.withLock {
            $0.sent.append(byte)
            $0.room -= 1
            if $0.room <= 0 { $0.ready = false }
            return $0.ready
        }
    }
    func send(_ bytes: Span<UInt8>, _ loss: OutputLoss) -> Int {
        for index in bytes.indices { _ = send(bytes[index]) }
        return bytes.count
    }
    func resumeReceiving() { state.withLock { $0.resumed += 1 } }
    var isConnected: Bool { true }
    var filename: String { "fake" }
    func stop() {}
    var droppedBytes: UInt64 { 0 }
    /// The host takes `room` more bytes.
    func open(_ room: Int = .max) { state.withLock { ($0.ready, $0.room) = (true, room) } }
    var sent: [UInt8] { state.withLock { $0.sent } }
    var resumed: Int { state.withLock { $0.resumed } }
}

/// A device that takes everything, up to `limit` bytes at a time unread.
final class FakeClient: CharBackendClient {
    struct State {
        var received: [UInt8] = []
        var room: Int
        var readied = 0
        var largest = 0
        var connections = 0
        var disconnections = 0
    }
    let state: Mutex<State>
    init(room: Int = 4096) { state = Mutex(State(room: room)) }
    func receiveRoom() -> Int { state.withLock { $0.room } }
    func receive(_ bytes: ArraySlice<UInt8>) {
        state.withLock {
            $0.received += bytes
            $0.room -= bytes.count
            $0.largest = max($0.largest, bytes.count)
        }
    }
    func transmitReady() { state.withLock { $0.readied += 1 } }
    func peerConnected() { state.withLock { $0.connections += 1 } }
    func peerDisconnected() { state.withLock { $0.disconnections += 1 } }
    func setRoom(_ room: Int) { state.withLock { $0.room = room } }
    var received: [UInt8] { state.withLock { $0.received } }
    var room: Int { state.withLock { $0.room } }
    var readied: Int { state.withLock { $0.readied } }
}

/// A clock that tests set, in nanoseconds since 1970.
final class FakeClock: Sendable {
    private let time: Mutex<UInt64>
    init(seconds: Int64, nanoseconds: UInt64 = 0) { time = Mutex(UInt64(seconds) * 1_000_000_000 + nanoseconds) }
    var now: UInt64 { time.withLock { $0 } }
    func advance(nanoseconds: UInt64) { time.withLock { $0 += nanoseconds } }
    func stepBack(seconds: UInt64) { time.withLock { $0 -= seconds * 1_000_000_000 } }
    func advance(seconds: UInt64) { advance(nanoseconds: seconds * 1_000_000_000) }
}
