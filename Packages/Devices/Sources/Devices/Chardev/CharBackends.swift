/// What kind of back end the user wants.
public enum CharBackendSpec: Equatable, Sendable {
    case stdio
    case pty
    /// Output only.
    case file(path: String)
    case socket(SocketSpec)
    /// Output only: each line becomes an entry of the log.
    case redirectToLog
}

public struct SocketSpec: Equatable, Sendable {
    public var address: SocketAddress
    /// A server listens and does not wait for its client ("server,nowait").
    public var isServer: Bool

    public init(_ address: SocketAddress, isServer: Bool) {
        self.address = address
        self.isServer = isServer
    }
}

/// Makes back ends.
public enum CharBackends {
    /// Opens, listens or connects. `id` is the chardev's name, for errors and the log; errors are `CharBackendError.chardev` unless it is empty.
    public static func make(_ spec: CharBackendSpec, id: String = "") throws(CharBackendError) -> any CharBackend {
        do throws(CharBackendError) {
            switch spec {
            case .stdio: return try StdioBackend()
            case .pty: return try PtyBackend()
            case .file(let path): return try FileBackend(path: path)
            case .socket(let socket) where socket.isServer: return try SocketBackend(listeningOn: socket.address)
            case .socket(let socket): return try SocketClientBackend(connectingTo: socket.address, id: id)
            case .redirectToLog: return try LogBackend(id: id)
            }
        } catch {
            throw id.isEmpty ? error : .chardev(id: id, error)
        }
    }
}
