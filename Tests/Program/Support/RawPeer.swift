import Foundation
import LinuxSys

/// A client of a unix socket that follows no protocol.
final class RawPeer {
    let socket: OwnedFD

    /// Connects as soon as somebody listens.
    init(path: String) throws {
        socket = try connected(path)
    }

    /// Sends what the socket takes within `seconds`; the number of bytes. Stops when the server hangs up.
    @discardableResult
    func push(_ bytes: [UInt8], seconds: Double = 0.2) -> Int {
        let deadline = Date(timeIntervalSinceNow: seconds)
        var done = 0
        while done < bytes.count {
            do {
                done += try socket.send(bytes, from: done)
            } catch {
                guard error == .again, Date() < deadline else { break }
                usleep(1_000)
            }
        }
        return done
    }

    func push(_ text: String) { push(Array(text.utf8)) }

    /// What has come; empty when nothing has, nil when the server has hung up.
    func pull() -> [UInt8]? {
        var piece = [UInt8](repeating: 0, count: 65536)
        do throws(Errno) {
            let count = try socket.read(into: &piece)
            return count == 0 ? nil : Array(piece[..<count])
        } catch { return error == .again ? [] : nil }
    }
}

/// A connection to a unix socket, as soon as somebody listens.
func connected(_ path: String) throws -> OwnedFD {
    var descriptor: Int32 = -1
    try until("\(path) answers") {
        guard let socket = try? StreamSocket.connect(path: path) else { return false }
        descriptor = socket.take()
        return true
    }
    return OwnedFD(adopting: descriptor)
}
