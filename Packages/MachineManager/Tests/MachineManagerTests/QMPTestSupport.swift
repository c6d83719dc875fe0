import Foundation
import LinuxSys
import Synchronization
import Testing

@testable import MachineManager

/// A server on a unix socket and a TCP port, with its loop on a thread of its own.
final class TestServer {
    let machine: FakeMachine
    let loop: EventLoop
    let server: QMPServer
    let path: String
    let port: UInt16
    private let thread: OSThread

    /// Without a limit on commands unless one is given.
    init(commandsPerSecond: UInt64 = 0, architecture: GuestArchitecture = .x86_64) throws {
        machine = FakeMachine(architecture)
        path = FileManager.default.temporaryDirectory.appendingPathComponent("qmp-\(UUID().uuidString.prefix(8)).sock").path
        let loop = try EventLoop()
        self.loop = loop
        server = QMPServer(loop: loop, control: machine, commandsPerSecond: commandsPerSecond)
        machine.connect(server)
        try machine.resume()
        try server.listen(on: .unix(path: path))
        // Port 0, which the command line refuses, lets the kernel choose.
        port = try #require(try server.listen(on: .tcp(host: "127.0.0.1", port: 0)))
        thread = try OSThread.start(name: "loop", stackSize: 1 << 20) { loop.run() }
    }

    /// Ends the loop's thread; the server can still be used, as at the end of a process.
    func stopLoop() {
        loop.stop()
        thread.join()
    }

    deinit {
        stopLoop()
        server.close()
        machine.disconnect()
    }

    func client() throws -> TestClient { try TestClient(path: path) }
}

/// A blocking client that gives up after some seconds, so that a server that hangs is a failure and not a hang.
final class TestClient {
    let descriptor: Int32
    private var received: [UInt8] = []

    /// Takes over a connected socket.
    init(adopting socket: consuming OwnedFD) throws {
        descriptor = socket.take()
        try block()
    }

    init(path: String) throws {
        var found: Int32?
        for _ in 0..<1000 where found == nil {
            // EAGAIN: the backlog is full of clients that wait for their turn.
            do { found = try StreamSocket.connect(path: path).take() } catch { if error != .again { throw error } }
            if found == nil { usleep(5000) }
        }
        descriptor = try #require(found)
        try block()
    }

    init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        if result != 0 { throw Errno(errno) }
        try block()
    }

    private func block() throws {
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        setTimeout(seconds: 10)
    }

    func setTimeout(seconds: Int, microseconds: Int = 0) {
        var time = timeval(tv_sec: seconds, tv_usec: microseconds)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// Bytes that the socket took before the timeout.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Int {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count <= 0 { break }
            done += count
        }
        return done
    }

    @discardableResult
    func send(_ text: String) -> Int { send(Array(text.utf8)) }

    /// Sends `text` with descriptors, which stay the caller's.
    func send(_ text: String, descriptors: [Int32]) throws {
        let socket = OwnedFD(adopting: dup(descriptor))
        let bytes = Array(text.utf8)
        #expect(try socket.send(bytes, descriptors: descriptors) == bytes.count)
    }

    /// What the server has sent and nobody has read.
    var unreadBytes: Int {
        var count: Int32 = 0
        return ioctl(descriptor, UInt(FIONREAD), &count) == 0 ? Int(count) : 0
    }

    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// The next line with its CR LF; nil when the server hung up or said nothing in time.
    func line() -> String? {
        while true {
            if let end = received.firstIndex(of: 0x0a) {
                defer { received.removeFirst(end + 1) }
                return String(decoding: received[...end], as: UTF8.self)
            }
            var buffer = [UInt8](repeating: 0, count: 65536)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count <= 0 { return nil }
            received += buffer[..<count]
        }
    }

    /// The next message.
    func message() throws -> JSONObject {
        let line = try #require(self.line())
        #expect(line.hasSuffix("\r\n"))
        var reader = JSONReader()
        let events = line.utf8.compactMap { reader.push($0) }
        guard case .value(.object(let object))? = events.first, events.count == 1 else { throw CommandLineError.conflict(line) }
        return object
    }

    /// Reads the greeting, and negotiates so that events come.
    func negotiate() throws {
        #expect(try message()["QMP"] != nil)
        send("{\"execute\":\"qmp_capabilities\"}\n")
        #expect(try message() == ["return": [:]])
    }

    /// The next message's event, after a check of its timestamp.
    func event() throws -> String? {
        let message = try message()
        guard case .string(let name)? = message["event"] else { return nil }
        guard case .object(let stamp)? = message["timestamp"], case .integer(let seconds)? = stamp["seconds"],
            case .integer(let fraction)? = stamp["microseconds"]
        else { return nil }
        #expect(abs(Double(seconds) + Double(fraction) / 1e6 - Date().timeIntervalSince1970) < 60)
        return name
    }

    /// The class and the text of the error in the next message.
    func error() throws -> [String] {
        guard case .object(let error)? = try message()["error"], case .string(let name)? = error["class"], case .string(let text)? = error["desc"]
        else { return [] }
        return [name, text]
    }
}
