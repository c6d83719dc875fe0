/// What a kernel can be decompressed from.
public enum KernelCompression: String, Equatable, Sendable {
    /// RFC 1952.
    case gzip
    /// RFC 8878.
    case zstd
}
