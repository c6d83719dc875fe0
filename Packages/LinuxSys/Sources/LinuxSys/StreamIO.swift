internal import CLinuxSys
internal import Glibc

/// Data of connected stream sockets that belong to somebody else. Nothing waits, and a peer that is gone causes no signal. Every result is that of the call, or a
/// negated errno. Any thread.
public enum StreamIO {
    /// What is there now, into `count` elements of `struct iovec`; 0: the peer sends no more.
    @unsafe public static func receive(_ fd: Int32, vectors: UnsafeRawPointer, count: Int) -> Int {
        // SAFETY: the caller of this unsafe function vouches for the vectors and the memory that they name.
        unsafe sys_receive_vectors(fd, vectors.assumingMemoryBound(to: iovec.self), count)
    }

    /// What the socket takes now of `count` elements of `struct iovec`.
    @unsafe public static func send(_ fd: Int32, vectors: UnsafeRawPointer, count: Int) -> Int {
        // SAFETY: as above.
        unsafe sys_send_vectors(fd, vectors.assumingMemoryBound(to: iovec.self), count)
    }

    /// Copies what is there now into the first elements of `bytes`, and leaves it there.
    public static func peek(_ fd: Int32, into bytes: inout [UInt8]) -> Int {
        unsafe bytes.withUnsafeMutableBytes { buffer in unsafe sys_peek(fd, buffer.baseAddress, buffer.count) }
    }

    /// Takes at most `count` bytes into the first elements of `bytes`.
    public static func receive(_ fd: Int32, into bytes: inout [UInt8], count: Int) -> Int {
        unsafe bytes.withUnsafeMutableBytes { buffer in
            // SAFETY: one vector that describes no more than the buffer.
            var vector = unsafe iovec(iov_base: buffer.baseAddress, iov_len: max(0, min(count, buffer.count)))
            return unsafe sys_receive_vectors(fd, &vector, 1)
        }
    }

    /// What the socket takes now of `bytes`.
    public static func send(_ fd: Int32, _ bytes: [UInt8]) -> Int { unsafe sys_send(fd, bytes, bytes.count) }

    /// shutdown(2): nothing more is received, or sent.
    public static func shutDown(_ fd: Int32, receiving: Bool, sending: Bool) { _ = sys_shutdown(fd, receiving, sending) }
}

/// How many descriptors this process may have open (RLIMIT_NOFILE).
public enum DescriptorLimit {
    /// Raises the limit to `wanted` as far as the user may, and says what it is then. For who lets others open descriptors here: they must not take those that
    /// the rest of the program needs.
    public static func raise(to wanted: Int) -> Int { max(0, sys_raise_descriptor_limit(UInt(clamping: wanted))) }
}
