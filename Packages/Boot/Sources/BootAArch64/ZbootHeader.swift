internal import BootCommon

/// An EFI zboot image: a PE program that decompresses the `Image` it holds when firmware starts it. Here the header alone is
/// looked at, which says where the compressed Image is (Linux, drivers/firmware/efi/libstub/zboot-header.S).
struct ZbootHeader: Equatable {
    let compression: KernelCompression
    /// Of the compressed Image in the file, in bytes.
    let payloadOffset: UInt64
    let payloadSize: UInt64

    private static let size = 64
    private static let typeOffset = 24
    /// Up to the number that tells such an image from others for PE loaders.
    private static let typeSize = 32

    static func recognises(_ head: LittleEndianBytes) -> Bool {
        head.matches(Array("MZ".utf8)) && head.matches(Array("zimg".utf8), at: 4)
    }

    /// - Parameters:
    ///   - head: the first bytes of the file, 64 or more.
    ///   - size: of the file, in bytes.
    init(_ head: LittleEndianBytes, size: UInt64) throws(AArch64ImageError) {
        guard let offset = head.load(UInt32.self, at: 8), let count = head.load(UInt32.self, at: 12),
            let type = head.slice(at: Self.typeOffset, count: Self.typeSize), head.count >= Self.size
        else { throw .truncatedZboot(needed: UInt64(Self.size), size: size) }
        guard offset >= Self.size else { throw .zbootPayloadOffset(offset) }
        guard count > 0 else { throw .zbootPayloadEmpty }
        // 32 bits each.
        let end = UInt64(offset) + UInt64(count)
        guard end <= size else { throw .truncatedZboot(needed: end, size: size) }
        compression = try Self.compression(type)
        payloadOffset = UInt64(offset)
        payloadSize = UInt64(count)
    }

    private static func compression(_ field: ArraySlice<UInt8>) throws(AArch64ImageError) -> KernelCompression {
        let bytes = field.prefix { $0 != 0 }
        // It goes into a message.
        guard !bytes.isEmpty, bytes.count < field.count, bytes.allSatisfy({ 0x21...0x7e ~= $0 }) else {
            throw .zbootCompressionType
        }
        switch String(decoding: bytes, as: UTF8.self) {
        case "gzip": return .gzip
        // The kernel's build names the level too.
        case "zstd", "zstd22": return .zstd
        case "xzkern": throw .zbootCompression("xz")
        case let name: throw .zbootCompression(name)
        }
    }
}
