internal import CLinuxSys
internal import Glibc

/// A connected stream socket whose bytes are moved on borrowed memory, for back ends that carry frames. No call waits, whatever the flags of the open file say
/// (another process may share them), and none raises SIGPIPE. Results are the call's, or a negated errno. Any thread.
public enum FrameSocket {
    /// recv(2): bytes that are there now, at most `count`. 0: the peer has closed its end.
    @unsafe public static func receive(_ fd: Int32, into memory: UnsafeMutableRawPointer, count: Int) -> Int {
        while true {
            // SAFETY: the caller of this unsafe function vouches for `count` bytes at `memory`.
            let result = unsafe sys_receive_now(fd, memory, count)
            if result != -Int(EINTR) { return result }
        }
    }

    /// sendmsg(2) from `count` elements of `struct iovec`, at most UIO_MAXIOV: bytes that the socket took, possibly fewer than there are.
    @unsafe public static func send(_ fd: Int32, vectors: UnsafeRawPointer, count: Int) -> Int {
        while true {
            // SAFETY: the caller of this unsafe function vouches for the vectors and the memory that they name.
            let result = unsafe sys_send_now(fd, vectors.assumingMemoryBound(to: iovec.self), Int32(truncatingIfNeeded: count))
            if result != -Int(EINTR) { return result }
        }
    }

    /// Both directions end: the peer, and whoever polls the descriptor, see a hang-up.
    public static func shutDown(_ fd: Int32) { sys_shut_down(fd) }
}

extension StreamSocket {
    /// Whether `socket` listens; else it is connected. ENOTSOCK for what is no socket, EPROTOTYPE for one that is no stream, ENOTCONN for one that is neither.
    public static func listens(_ socket: borrowing OwnedFD) throws(Errno) -> Bool { try check(sys_stream_listens(socket.raw)) == 1 }
}
