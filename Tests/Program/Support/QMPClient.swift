import Foundation
import LinuxSys

/// A QMP client that keeps the order of what the server sends.
final class QMPClient {
    typealias Message = [String: Any]
    private let socket: OwnedFD
    private var buffer: [UInt8] = []

    /// Connects as soon as the server listens.
    init(path: String) throws {
        socket = try connected(path)
    }

    /// Connects and takes the greeting.
    static func greeted(path: String) throws -> QMPClient {
        let client = try QMPClient(path: path)
        guard try client.receive()["QMP"] != nil else { throw Program.Failure(description: "no greeting") }
        return client
    }

    func send(_ text: String) throws {
        try socket.writeAll(Array(text.utf8))
    }

    /// The next message, whatever it is.
    func receive() throws -> Message {
        var line: [UInt8]?
        try until("a message comes, have \(String(decoding: buffer, as: UTF8.self).debugDescription)") {
            if let end = buffer.firstIndex(of: 10) {
                line = Array(buffer[..<end])
                buffer.removeFirst(end + 1)
                return true
            }
            var piece = [UInt8](repeating: 0, count: 4096)
            do {
                let count = try socket.read(into: &piece)
                if count == 0 { throw Program.Failure(description: "the server hung up") }
                buffer += piece[..<count]
            } catch let error as Errno where error == .again {}
            return false
        }
        guard let message = try JSONSerialization.jsonObject(with: Data(line ?? [])) as? Message else { throw Program.Failure(description: "not an object") }
        return message
    }

    /// Sends a command and gives its answer, which must be the next message.
    func execute(_ command: String) throws -> Message {
        try send("{\"execute\":\"\(command)\"}")
        return try receive()
    }

    /// As above, with arguments as JSON.
    func execute(_ command: String, _ arguments: String) throws -> Message {
        try send("{\"execute\":\"\(command)\",\"arguments\":\(arguments)}")
        return try receive()
    }

    /// Sends a command that must succeed; what it gives.
    @discardableResult
    func must(_ command: String, _ arguments: String = "{}") throws -> Any {
        let answer = try execute(command, arguments)
        guard let value = answer["return"] else { throw Program.Failure(description: "\(command) \(arguments): \(answer)") }
        return value
    }

    /// Sends a command that must fail; the sentence.
    func refused(_ command: String, _ arguments: String = "{}") throws -> String? {
        (try execute(command, arguments)["error"] as? Message)?["desc"] as? String
    }

    /// The next message, which must be an event of this name; its data.
    func event(_ name: String) throws -> Message {
        let message = try receive()
        guard message["event"] as? String == name else { throw Program.Failure(description: "expected the event \(name), got \(message)") }
        return message["data"] as? Message ?? [:]
    }
}
