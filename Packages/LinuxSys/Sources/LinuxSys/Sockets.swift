internal import CLinuxSys

/// Stream sockets. Every descriptor is non-blocking and close-on-exec.
public enum StreamSocket {
    /// Listens on a unix socket file that is made with mode 0600. Throws EADDRINUSE when the path exists and ENAMETOOLONG over 107 bytes.
    public static func listen(path: String, backlog: Int32 = 8) throws(Errno) -> OwnedFD {
        if path.utf8.contains(0) { throw .invalid }
        return OwnedFD(adopting: Int32(truncatingIfNeeded: try check(unsafe sys_unix_socket(path, true, backlog))))
    }

    /// As `listen(path:)`, after removing a socket file that nobody listens on any more. A file that is no socket, or a socket that answers, stays and
    /// is EADDRINUSE.
    public static func listenReplacingStale(path: String, backlog: Int32 = 8) throws(Errno) -> OwnedFD {
        do { return try listen(path: path, backlog: backlog) } catch {
            guard error == .addressInUse, let status = try? SysFile.linkStatus(path), status.kind == .socket else { throw error }
            let answer: Errno?
            do { _ = try connect(path: path); answer = nil } catch { answer = error }
            guard answer == .connectionRefused else { throw error }
            try SysFile.remove(path)
            return try listen(path: path, backlog: backlog)
        }
    }

    public static func connect(path: String) throws(Errno) -> OwnedFD {
        if path.utf8.contains(0) { throw .invalid }
        return OwnedFD(adopting: Int32(truncatingIfNeeded: try check(unsafe sys_unix_socket(path, false, 0))))
    }

    /// Listens on a numeric IPv4 or IPv6 address (no name is looked up); EINVAL when `host` is none. Port 0 lets the kernel choose: see `port(of:)`.
    public static func listen(host: String, port: UInt16, backlog: Int32 = 8) throws(Errno) -> OwnedFD {
        OwnedFD(adopting: Int32(truncatingIfNeeded: try check(unsafe sys_tcp_listen(host, port, backlog))))
    }

    /// The local port of a TCP socket.
    public static func port(of socket: borrowing OwnedFD) throws(Errno) -> UInt16 {
        UInt16(truncatingIfNeeded: try check(sys_socket_port(socket.raw)))
    }

    /// Takes one waiting connection; EAGAIN when none waits.
    public static func accept(_ listener: borrowing OwnedFD) throws(Errno) -> OwnedFD {
        OwnedFD(adopting: Int32(truncatingIfNeeded: try retryInterrupted { sys_accept(listener.raw) }))
    }
}

extension OwnedFD {
    /// Sends what the socket takes now of `bytes`, from index `start` on; EAGAIN when it takes nothing, EPIPE (and no signal) when the peer is gone.
    public borrowing func send(_ bytes: [UInt8], from start: Int = 0) throws(Errno) -> Int {
        guard start >= 0, start < bytes.count else { return 0 }
        let descriptor = raw
        return try check(unsafe bytes.withUnsafeBytes { buffer in
            while true {
                let result = unsafe sys_send(descriptor, buffer.baseAddress.map { unsafe $0 + start }, buffer.count - start)
                if result != -Int(Errno.interrupted.code) { return result }
            }
        })
    }

    /// Writes what the file takes now of `bytes`, from index `start` on; EAGAIN when a non-blocking one takes nothing.
    public borrowing func write(_ bytes: [UInt8], from start: Int = 0) throws(Errno) -> Int {
        guard start >= 0, start < bytes.count else { return 0 }
        let descriptor = raw
        return try check(unsafe bytes.withUnsafeBytes { buffer in
            while true {
                let result = unsafe sys_write(descriptor, buffer.baseAddress.map { unsafe $0 + start }, buffer.count - start)
                if result != -Int(Errno.interrupted.code) { return result }
            }
        })
    }
}
