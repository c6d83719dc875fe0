package import BootCommon

/// The 64 bytes at the start of an arm64 Linux `Image`, and what they ask for (Documentation/arch/arm64/booting.rst,
/// "Call the kernel image"). The reserved fields and bits are not looked at: a kernel that uses one of them is newer
/// than this loader, not broken; `res5` leads to the PE header, which only firmware reads.
public struct AArch64ImageHeader: Equatable, Sendable {
    public static let size = 64
    /// Distance in bytes from an address that is a multiple of 2 MiB to the first byte of the Image.
    public let textOffset: UInt64
    /// Bytes from the start of the Image that have to be free for it, those of the file and the bss; nil before Linux
    /// 3.17, where nobody knows.
    public let imageSize: UInt64?
    /// Of the kernel's own pages, in bytes: 4, 16 or 64 KiB; nil when it does not say.
    public let pageSize: UInt64?

    static let magicOffset = 56
    static let magic = Array("ARM\u{64}".utf8)
    /// What every kernel had that does not tell `imageSize`.
    static let oldTextOffset: UInt64 = 0x8_0000
    private static let bigEndian: UInt64 = 1 << 0

    /// - Parameter head: the first 64 bytes of the Image or more.
    package init(_ head: LittleEndianBytes) throws(AArch64ImageError) {
        guard let offset = head.load(UInt64.self, at: 8), let size = head.load(UInt64.self, at: 16),
            let flags = head.load(UInt64.self, at: 24), head.count >= Self.size
        else { throw .tooShort(UInt64(head.count)) }
        guard head.matches(Self.magic, at: Self.magicOffset) else { throw .notAKernel }
        // Kernels without a size have no flags either; their text_offset is in their own byte order.
        guard flags & Self.bigEndian == 0, size != 0 || offset.byteSwapped != Self.oldTextOffset else {
            throw .bigEndian
        }
        guard size == 0 || size >= UInt64(Self.size) else { throw .imageSize(size) }
        textOffset = size == 0 ? Self.oldTextOffset : offset
        // The first instruction is at the first byte.
        guard textOffset & 3 == 0 else { throw .textOffset(textOffset) }
        imageSize = size == 0 ? nil : size
        // Bit 3, the placement, changes nothing here: the kernel goes as near to the start of RAM as it can, and RAM
        // ends below 48 bits.
        switch flags >> 1 & 3 {
        case 1: pageSize = 4 << 10
        case 2: pageSize = 16 << 10
        case 3: pageSize = 64 << 10
        default: pageSize = nil
        }
    }
}
