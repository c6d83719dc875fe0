/// A bzImage of protocol 2.15 with one setup sector and a payload of 4 KiB that counts upwards.
public struct SyntheticBzImage {
    public var bytes: [UInt8]

    public static let setupSize = 1024
    public static let payloadSize = 4096
    public static let headerEnd = 0x26c

    public init(version: UInt16 = 0x020f, payloadSize: Int = Self.payloadSize) {
        bytes = [UInt8](repeating: 0xff, count: 0x1ef) + [UInt8](repeating: 0, count: Self.setupSize - 0x1ef)
        bytes += (0..<payloadSize).map { UInt8(truncatingIfNeeded: $0) }
        bytes[0x1f1] = 1
        bytes.put(UInt32(payloadSize / 16), at: 0x1f4)
        bytes.put(UInt16(0xaa55), at: 0x1fe)
        bytes[0x200] = 0xeb
        bytes[0x201] = UInt8(Self.headerEnd - 0x202)
        bytes.put(UInt32(0x5372_6448), at: 0x202)
        bytes.put(version, at: 0x206)
        bytes[0x211] = 1
        bytes.put(UInt32(0x10_0000), at: 0x214)
        bytes.put(UInt32(0x7fff_ffff), at: 0x22c)
        bytes.put(UInt32(0x20_0000), at: 0x230)
        bytes[0x234] = 1
        bytes.put(UInt16(1), at: 0x236)
        bytes.put(UInt32(2047), at: 0x238)
        bytes.put(UInt64(0x100_0000), at: 0x258)
        bytes.put(UInt32(0x10_0000), at: 0x260)
    }
}
