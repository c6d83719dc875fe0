/// A kernel file as the recogniser reads it: random access, exact reads.
public protocol KernelSource: ~Copyable {
    /// In bytes.
    var size: UInt64 { get }

    /// Exactly `count` bytes from `offset`.
    /// - Throws: `readFailed`, or `shrank` when the file has become shorter than `size` said.
    func read(at offset: UInt64, count: Int) throws(KernelImageError) -> [UInt8]
}

/// A kernel that is already in memory.
public struct BytesKernelSource: KernelSource {
    private let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    public var size: UInt64 { UInt64(bytes.count) }

    public func read(at offset: UInt64, count: Int) throws(KernelImageError) -> [UInt8] {
        guard let start = Int(exactly: offset), let slice = LittleEndianBytes(bytes).slice(at: start, count: count)
        else { throw .shrank }
        return [UInt8](slice)
    }
}
