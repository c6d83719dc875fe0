internal import CLinuxSys
internal import Glibc

/// File I/O at an offset on a borrowed descriptor, for block back ends. Every result is that of the call, or a negated errno. Any thread.
public enum PositionalIO {
    /// preadv(2) into `count` elements of `struct iovec`: bytes read, fewer than asked at the end of the file.
    @unsafe public static func read(_ fd: Int32, vectors: UnsafeRawPointer, count: Int32, at offset: UInt64) -> Int {
        // SAFETY: the caller of this unsafe function vouches for the vectors and the memory that they name.
        unsafe sys_preadv(fd, vectors.assumingMemoryBound(to: iovec.self), count, Int64(clamping: offset))
    }

    /// pwritev(2) from `count` elements of `struct iovec`: bytes written, possibly fewer than asked.
    @unsafe public static func write(_ fd: Int32, vectors: UnsafeRawPointer, count: Int32, at offset: UInt64) -> Int {
        // SAFETY: as above.
        unsafe sys_pwritev(fd, vectors.assumingMemoryBound(to: iovec.self), count, Int64(clamping: offset))
    }

    /// pread(2).
    @unsafe public static func read(_ fd: Int32, into memory: UnsafeMutableRawPointer, count: Int, at offset: UInt64) -> Int {
        // SAFETY: the caller of this unsafe function vouches for `count` bytes at `memory`.
        unsafe sys_pread(fd, memory, count, Int64(clamping: offset))
    }

    /// pwrite(2).
    @unsafe public static func write(_ fd: Int32, from memory: UnsafeRawPointer, count: Int, at offset: UInt64) -> Int {
        // SAFETY: as above.
        unsafe sys_pwrite(fd, memory, count, Int64(clamping: offset))
    }

    /// fdatasync(2).
    public static func synchronizeData(_ fd: Int32) -> Int { sys_fdatasync(fd) }

    /// fallocate(2).
    public static func allocate(_ fd: Int32, mode: Int32, at offset: UInt64, count: UInt64) -> Int {
        sys_fallocate(fd, mode, Int64(clamping: offset), Int64(clamping: count))
    }

    /// ioctl(2) with a pointer.
    @unsafe public static func control(_ fd: Int32, _ request: UInt, _ argument: UnsafeMutableRawPointer) -> Int {
        // SAFETY: the caller of this unsafe function vouches that `argument` points at what the request reads or writes.
        unsafe sys_ioctl_pointer(fd, request, argument)
    }
}
