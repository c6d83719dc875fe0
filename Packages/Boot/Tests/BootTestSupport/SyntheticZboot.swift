/// An EFI zboot image for aarch64: a header of 4 KiB, then the payload.
public struct SyntheticZboot {
    public var bytes: [UInt8]

    public static let payloadOffset = 4096

    /// - Parameters:
    ///   - type: name of the compression.
    ///   - tail: what the build appends behind the payload: for all but gzip the size, 4 bytes.
    public init(payload: [UInt8], type: String, machine: UInt16 = 0xaa64, tail: [UInt8] = [0, 0, 0x10, 0]) {
        bytes = [UInt8](repeating: 0, count: Self.payloadOffset)
        bytes.put(UInt32(0x5a4d), at: 0)
        bytes.replaceSubrange(4..<8, with: Array("zimg".utf8))
        bytes.put(UInt32(Self.payloadOffset), at: 8)
        bytes.put(UInt32(payload.count), at: 12)
        bytes.replaceSubrange(24..<24 + type.utf8.count, with: Array(type.utf8))
        bytes.put(UInt32(0x8182_23cd), at: 56)
        bytes.put(UInt32(64), at: 60)
        bytes.put(UInt32(0x4550), at: 64)
        bytes.put(machine, at: 68)
        bytes += payload + tail
    }
}
