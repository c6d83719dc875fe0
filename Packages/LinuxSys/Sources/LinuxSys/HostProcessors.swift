internal import Glibc

/// The processors of the host.
public enum HostProcessors {
    /// How many are online; at least 1.
    public static var count: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}

/// The pages of the host.
public enum HostPage {
    /// Bytes, a power of two: 4 KiB, 16 KiB or 64 KiB on aarch64, as the kernel was built.
    public static let size = UInt64(max(4096, sysconf(Int32(_SC_PAGESIZE))))
}
