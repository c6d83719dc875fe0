internal import CLinuxSys
internal import Glibc

/// One mmap(2) mapping with one owner: unmapped when the owner goes.
@safe
public struct MemoryMapping: ~Copyable, @unchecked Sendable {
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
        guard size > 0 else { throw .invalid }
        var address: UnsafeMutableRawPointer?
        _ = try check(unsafe sys_mmap(&address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))
        guard let address = unsafe address else { throw .invalid }
        return unsafe MemoryMapping(base: address, size: size)
    }

    deinit { _ = unsafe munmap(base, size) }
}
