internal import CLinuxSys

extension StreamSocket {
    /// Begins to connect to a numeric IPv4 or IPv6 address (no name is looked up) and does not wait: the socket becomes writable when it is known
    /// what became of it, which `connectionResult` tells. EINVAL when `host` is no address.
    public static func beginConnect(host: String, port: UInt16) throws(Errno) -> OwnedFD {
        if host.utf8.contains(0) { throw .invalid }
        return OwnedFD(adopting: Int32(truncatingIfNeeded: try check(unsafe sys_tcp_connect(host, port))))
    }
}

extension OwnedFD {
    /// Throws why the connection that `beginConnect` began has failed; once, and only when the socket has become writable does silence mean success.
    public borrowing func connectionResult() throws(Errno) { _ = try check(sys_socket_error(raw)) }

    /// For a TCP connection that carries a console: small pieces go out at once, and a peer that has vanished is noticed after about a minute.
    public borrowing func tuneForConsole() { sys_tcp_tune(raw) }

    /// Reads at most `limit` bytes into the first elements of `bytes`; 0 at the end of the file.
    public borrowing func read(into bytes: inout [UInt8], limit: Int) throws(Errno) -> Int {
        let descriptor = raw
        return try check(unsafe bytes.withUnsafeMutableBytes { buffer in
            let capacity = max(0, min(limit, buffer.count))
            while true {
                // SAFETY: capacity does not exceed the buffer.
                let result = unsafe sys_read(descriptor, buffer.baseAddress, capacity)
                if result != -Int(Errno.interrupted.code) { return result }
            }
        })
    }
}
