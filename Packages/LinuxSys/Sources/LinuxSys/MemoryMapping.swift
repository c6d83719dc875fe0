internal import CLinuxSys
internal import Glibc

/// One mmap(2) mapping with one owner: unmapped when the owner goes.
@safe
public struct MemoryMapping: ~Copyable, @unchecked Sendable {
    public enum Backing { case anonymous, sharedFile, privateFile }

    /// First byte. SAFETY: valid for `size` bytes while this value lives; whoever keeps the pointer keeps the mapping.
    public let base: UnsafeMutableRawPointer
    /// Bytes, a multiple of the page size when it was asked so.
    public let size: Int

    private init(base: UnsafeMutableRawPointer, size: Int) {
        unsafe self.base = base
        self.size = size
    }

    /// Zeroed private pages that take memory only when they are touched; no swap is reserved, so guest RAM may be larger than free memory.
    public static func anonymous(size: Int) throws(Errno) -> MemoryMapping {
        try map(size: size, protection: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, descriptor: -1, offset: 0)
    }

    /// `size` bytes of a file from `offset` on, a multiple of the page size.
    public static func file(_ file: borrowing OwnedFD, size: Int, offset: Int64 = 0, shared: Bool = true, writable: Bool = true) throws(Errno) -> MemoryMapping {
        try map(size: size, protection: writable ? PROT_READ | PROT_WRITE : PROT_READ,
                flags: (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_NORESERVE, descriptor: file.raw, offset: offset)
    }

    private static func map(size: Int, protection: Int32, flags: Int32, descriptor: Int32, offset: Int64) throws(Errno) -> MemoryMapping {
        guard size > 0 else { throw .invalid }
        var address: UnsafeMutableRawPointer?
        _ = try check(unsafe sys_mmap(&address, size, protection, flags, descriptor, offset))
        guard let address = unsafe address else { throw .invalid }
        return unsafe MemoryMapping(base: address, size: size)
    }

    deinit { _ = unsafe munmap(base, size) }

    /// Leaves the mapping out of core dumps.
    public borrowing func excludeFromCoreDump() throws(Errno) {
        _ = try check(unsafe sys_madvise(base, size, MADV_DONTDUMP))
    }

    /// An anonymous file in memory, for memory that is shared with another process.
    public static func memfd(named name: String, size: Int) throws(Errno) -> OwnedFD {
        let file = OwnedFD(adopting: Int32(truncatingIfNeeded: try check(unsafe sys_memfd(name))))
        _ = try check(sys_ftruncate(file.raw, Int64(size)))
        return file
    }
}
