internal import CLinuxSys
internal import Glibc

/// A file descriptor with one owner: closed when the owner goes.
public struct OwnedFD: ~Copyable, Sendable {
    /// The number, for calls that borrow the descriptor. It must not outlive the owner.
    public let raw: Int32

    /// Takes over `raw`, which the caller must not close.
    @inlinable
    public init(adopting raw: Int32) { self.raw = raw }

    deinit { _ = Glibc.close(raw) }

    /// Gives the descriptor away: the caller closes it.
    public consuming func take() -> Int32 {
        let number = raw
        discard self
        return number
    }

    /// A second descriptor (3 or above, close-on-exec) of the same open file description.
    public borrowing func duplicate() throws(Errno) -> OwnedFD {
        OwnedFD(adopting: Int32(truncatingIfNeeded: try check(sys_dup(raw))))
    }

    public borrowing func setNonBlocking(_ on: Bool) throws(Errno) {
        let flags = Int32(truncatingIfNeeded: try check(sys_get_flags(raw)))
        _ = try check(sys_set_flags(raw, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK))
    }

    /// Reads at most `count` bytes into `bytes` (its first `count` elements); 0 at the end of the file.
    public borrowing func read(into bytes: inout [UInt8]) throws(Errno) -> Int {
        let capacity = bytes.count
        let descriptor = raw
        return try check(unsafe bytes.withUnsafeMutableBytes { buffer in
            var result = -Int(EINTR)
            while result == -Int(EINTR) { result = unsafe sys_read(descriptor, buffer.baseAddress, capacity) }
            return result
        })
    }

    /// Reads up to `bytes.count` bytes at `offset`, fewer only at the end of the file.
    public borrowing func pread(into bytes: inout [UInt8], at offset: Int64) throws(Errno) -> Int {
        let descriptor = raw
        return try check(unsafe bytes.withUnsafeMutableBytes { buffer in
            var done = 0
            while done < buffer.count {
                let result = unsafe sys_pread(descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done, offset &+ Int64(done))
                if result == -Int(EINTR) { continue }
                if result < 0 { return result }
                if result == 0 { break }
                done += result
            }
            return done
        })
    }

    /// Writes all of `bytes`, waiting where the descriptor blocks.
    public borrowing func writeAll(_ bytes: [UInt8]) throws(Errno) {
        let descriptor = raw
        _ = try check(unsafe bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let result = unsafe sys_write(descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done)
                if result == -Int(EINTR) { continue }
                if result < 0 { return result }
                done += result
            }
            return done
        })
    }
}
