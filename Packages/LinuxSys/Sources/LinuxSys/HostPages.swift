internal import Glibc

/// The pages of the host's memory: 4 KiB on x86_64; 4, 16 or 64 KiB on aarch64.
public enum HostPages {
    /// In bytes, a power of two.
    public static var size: UInt64 { UInt64(clamping: max(4096, sysconf(Int32(_SC_PAGESIZE)))) }
}
