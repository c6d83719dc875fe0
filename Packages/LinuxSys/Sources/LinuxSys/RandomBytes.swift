internal import CLinuxSys
internal import Glibc

/// Bytes that nobody can guess, from the kernel. Any thread.
public enum RandomBytes {
    /// How many can be had at once.
    public static let limit = 256

    /// `count` bytes, `limit` at most. Waits where the host has just started and has no entropy yet.
    public static func make(_ count: Int) throws(Errno) -> [UInt8] {
        guard (0...limit).contains(count) else { throw .invalid }
        var bytes = [UInt8](repeating: 0, count: count)
        // SAFETY: the call writes at most `count` bytes, which is how many the array has, while the closure holds it.
        let result = unsafe bytes.withUnsafeMutableBytes { buffer in
            var result = -Int(EINTR)
            while result == -Int(EINTR) { result = unsafe sys_random(buffer.baseAddress, buffer.count) }
            return result
        }
        guard try check(result) == count else { throw .io }
        return bytes
    }
}
