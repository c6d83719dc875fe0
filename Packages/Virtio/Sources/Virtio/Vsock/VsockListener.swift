internal import LinuxSys

/// Where programs of the host come to a guest's sockets, and where its own programs go: `path`, and for each port `path_PORT`.
struct VsockListener {
    /// What unix(7) allows, less what the longest port adds.
    static let longestPath = 107 - "_4294967295".utf8.count
    /// Connections that wait in the kernel until the loop comes round.
    private static let backlog: Int32 = 128

    let path: String
    private let file: ListenerFile
    var raw: Int32 { file.socket.raw }

    /// A socket file that nobody listens on is replaced; the new one has mode 0600 and is removed with this value, or else at the end of the process.
    init(path: String) throws(Errno) {
        guard path.utf8.count <= Self.longestPath else { throw .nameTooLong }
        let socket = try StreamSocket.listenReplacingStale(path: path, backlog: Self.backlog)
        do throws(Errno) {
            file = ListenerFile(socket, try ExitActions.remove(path: path))
        } catch {
            try? SysFile.remove(path)
            throw error
        }
        self.path = path
    }

    /// The next program that waits; EAGAIN when none does.
    func accept() throws(Errno) -> OwnedFD { try StreamSocket.accept(file.socket) }

    /// The program that listens for the guest's connections to `port`. Does not wait: a program that is too busy is as good as none.
    func connect(port: UInt32) throws(Errno) -> OwnedFD { try StreamSocket.connect(path: "\(path)_\(port)") }
}

private final class ListenerFile {
    let socket: OwnedFD
    private let cleanup: ExitActions.Path

    init(_ socket: consuming OwnedFD, _ cleanup: ExitActions.Path) {
        self.socket = socket
        self.cleanup = cleanup
    }

    deinit { ExitActions.removeNow(cleanup) }
}
