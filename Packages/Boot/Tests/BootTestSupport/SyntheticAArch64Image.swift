/// An arm64 Image whose bytes behind the header count upwards.
public struct SyntheticAArch64Image {
    public var bytes: [UInt8]

    /// - Parameters:
    ///   - size: of the file, in bytes, 64 or more.
    ///   - imageSize: what the header says; 0 for kernels before 3.17.
    ///   - flags: 0xa is little endian, 4 KiB pages, anywhere in memory.
    public init(size: Int = 4096, textOffset: UInt64 = 0, imageSize: UInt64 = 0x10_0000, flags: UInt64 = 0xa) {
        bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 5 &+ $0 >> 8) }
        bytes.replaceSubrange(0..<64, with: [UInt8](repeating: 0, count: 64))
        bytes.put(UInt32(0x1400_0010), at: 0)  // b . + 64
        bytes.put(textOffset, at: 8)
        bytes.put(imageSize, at: 16)
        bytes.put(flags, at: 24)
        bytes.put(UInt32(0x644d_5241), at: 56)
    }
}
