internal import LinuxSys

/// Where a socket chardev listens or connects.
public enum SocketAddress: Equatable, Sendable, CustomStringConvertible {
    /// At most 107 bytes (unix(7)).
    case unix(path: String)
    /// A numeric IPv4 or IPv6 address.
    case tcp(host: String, port: UInt16)

    /// As in QEMU's query-chardev: "unix:/run/console" or "tcp:127.0.0.1:4444".
    public var description: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port): host.utf8.contains(UInt8(ascii: ":")) ? "tcp:[\(host)]:\(port)" : "tcp:\(host):\(port)"
        }
    }

    /// As the user wrote it, for errors.
    var short: String {
        switch self {
        case .unix(let path): path
        case .tcp: description
        }
    }

    func listen() throws(Errno) -> OwnedFD {
        switch self {
        case .unix(let path): try StreamSocket.listenReplacingStale(path: path)
        case .tcp(let host, let port): try StreamSocket.listen(host: host, port: port)
        }
    }

    /// A socket that is connected, or, with TCP, will be: then it becomes writable.
    func beginConnect() throws(Errno) -> OwnedFD {
        switch self {
        case .unix(let path): return try StreamSocket.connect(path: path)
        case .tcp(let host, let port):
            let socket = try StreamSocket.beginConnect(host: host, port: port)
            socket.tuneForConsole()
            return socket
        }
    }
}
