import Foundation
import LinuxSys
import Testing

@testable import Devices

/// Runs a loop on its own thread for the length of a test.
final class LoopThread {
    let loop: EventLoop
    private let thread: OSThread
    init() throws {
        signal(SIGPIPE, SIG_IGN)  // as the program does
        let loop = try EventLoop()
        self.loop = loop
        thread = try OSThread.start(name: "test loop") { loop.run() }
    }
    func end() {
        loop.stop()
        thread.join()
    }
}

/// Waits up to ten seconds, which only a failure takes.
func eventually(_ what: String, _ condition: () -> Bool) {
    for _ in 0..<5000 {
        if condition() { return }
        Clock.sleep(nanoseconds: 2_000_000)
    }
    Issue.record("never: \(what)")
}

func temporaryPath() -> String {
    FileManager.default.temporaryDirectory.appendingPathComponent("c-\(UUID().uuidString.prefix(8))").path
}

/// What a client reads until `count` bytes have come, or nothing more comes.
func readAll(_ file: borrowing OwnedFD, count: Int) -> [UInt8] {
    var all: [UInt8] = []
    for _ in 0..<5000 where all.count < count {
        var buffer = [UInt8](repeating: 0, count: 65536)
        do throws(Errno) {
            let read = try file.read(into: &buffer)
            if read == 0 { break }
            all += buffer.prefix(read)
        } catch { Clock.sleep(nanoseconds: 2_000_000) }
    }
    return all
}

/// A socket that listens at `path`, in front of a client with `room` for input.
func servedSocket(room: Int = 4096) throws -> (path: String, thread: LoopThread, backend: SocketBackend, client: FakeClient) {
    let path = temporaryPath()
    let thread = try LoopThread()
    let backend = try SocketBackend(path: path)
    let client = FakeClient(room: room)
    try backend.start(on: thread.loop, client: client)
    return (path, thread, backend, client)
}

func send(_ text: String, to backend: any CharBackend) {
    for byte in text.utf8 { _ = backend.send(byte) }
}

/// Tries again while the listener's queue is full.
func connect(_ path: String) throws -> OwnedFD {
    for _ in 0..<5000 {
        do throws(Errno) { return try StreamSocket.connect(path: path) } catch {
            guard error == .again else { throw error }
            Clock.sleep(nanoseconds: 2_000_000)
        }
    }
    throw Errno.again
}

/// Sends all in bulk, waiting as a device does.
func sendAll(_ bytes: [UInt8], to backend: any CharBackend, _ loss: OutputLoss) {
    var start = 0
    while start < bytes.count {
        let taken = backend.send(bytes.span.extracting(start..<bytes.count), loss)
        start += taken
        if start < bytes.count { Clock.sleep(nanoseconds: 1_000_000) }
    }
}
