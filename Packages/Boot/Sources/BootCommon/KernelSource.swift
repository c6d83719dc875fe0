/// A kernel file as the recogniser reads it: random access, exact reads.
public protocol KernelSource: ~Copyable {
    /// In bytes.
    var size: UInt64 { get }

    /// Exactly `count` bytes from `offset`.
    func read(at offset: UInt64, count: Int) throws(KernelSourceError) -> [UInt8]
}

/// Why bytes of a kernel file could not be had.
public enum KernelSourceError: Error, Equatable, Sendable, CustomStringConvertible {
    /// errno of the failed read.
    case readFailed(errno: Int32)
    /// The file has become shorter than `size` said.
    case shrank

    public var description: String {
        switch self {
        case .readFailed(let errno): "cannot be read (errno \(errno))"
        case .shrank: "became shorter while it was read"
        }
    }
}

/// A kernel that is already in memory.
public struct BytesKernelSource: KernelSource {
    private let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    public var size: UInt64 { UInt64(bytes.count) }

    public func read(at offset: UInt64, count: Int) throws(KernelSourceError) -> [UInt8] {
        guard let start = Int(exactly: offset), let slice = LittleEndianBytes(bytes).slice(at: start, count: count)
        else { throw .shrank }
        return [UInt8](slice)
    }
}
