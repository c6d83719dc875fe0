import Devices
import LinuxSys
import Synchronization

/// A back end that takes as much as the test allows.
final class FakeChar: CharBackend {
    private struct State {
        var client: (any CharBackendClient)?
        var sent: [UInt8] = []
        var room = Int.max
        var isConnected: Bool
        var resumed = 0
        var calls = 0
        var losses: Set<String> = []
    }
    private let state: Mutex<State>

    init(isConnected: Bool = true) { state = Mutex(State(isConnected: isConnected)) }

    func start(on loop: EventLoop, client: any CharBackendClient) throws(CharBackendError) { state.withLock { $0.client = client } }
    func send(_ byte: UInt8) -> Bool { false }
    func send(_ bytes: Span<UInt8>, _ loss: OutputLoss) -> Int {
        state.withLock { state in
            state.calls += 1
            state.losses.insert("\(loss)")
            let count = min(bytes.count, state.room)
            for index in 0..<count { state.sent.append(bytes[index]) }
            if state.room != Int.max { state.room -= count }
            return count
        }
    }
    func resumeReceiving() { state.withLock { $0.resumed += 1 } }
    func stop() { state.withLock { $0.client = nil } }
    var isConnected: Bool { state.withLock { $0.isConnected } }
    var droppedBytes: UInt64 { 0 }
    var filename: String { "fake" }

    // MARK: The test's side

    var client: (any CharBackendClient)? { state.withLock { $0.client } }
    var sent: [UInt8] { state.withLock { $0.sent } }
    var resumed: Int { state.withLock { $0.resumed } }
    var calls: Int { state.withLock { $0.calls } }
    var losses: Set<String> { state.withLock { $0.losses } }

    /// Takes `room` bytes more, and says so.
    func allow(_ room: Int) {
        state.withLock { $0.room = room }
        client?.transmitReady()
    }

    /// What the client takes of it.
    @discardableResult
    func type(_ bytes: [UInt8]) -> Int {
        guard let client else { return 0 }
        let count = min(bytes.count, client.receiveRoom())
        client.receive(bytes[..<count])
        return count
    }

    func connect(_ isConnected: Bool) {
        state.withLock { $0.isConnected = isConnected }
        if isConnected { client?.peerConnected() } else { client?.peerDisconnected() }
    }
}
