public import BootCommon

/// A kernel file whose format was recognised by its content; its name means nothing.
public enum KernelImage: Equatable, Sendable {
    case bzImage(BzImage)
    case elf(ELFKernel)
    /// `objcopy -O binary vmlinux`, or any bare program for 0x1000000; size in bytes.
    case flat(size: UInt64)

    private static let headSize: UInt64 = 4096
    private static let leastFlatSize: UInt64 = 4

    /// Reads the first 4 KiB of the file and, for ELF, its program headers and notes where they lie further behind.
    /// - Throws: every way in which the file is damaged, compressed, or not for x86_64. Only a file that shows no sign
    ///   of any known format is taken for a flat binary.
    public init(recognising source: borrowing some KernelSource & ~Copyable) throws(KernelImageError) {
        let size = source.size
        guard size > 0 else { throw .empty }
        guard size >= Self.leastFlatSize else { throw .tooShort(size) }
        let head = LittleEndianBytes(
            try source.bytes(at: 0, count: Int(truncatingIfNeeded: min(size, Self.headSize))))
        if head.matches(ELFKernel.magic) {
            self = .elf(try ELFKernel(head: head, source: source))
        } else if BzImage.recognises(head) {
            self = .bzImage(try BzImage(head: head, size: size))
        } else {
            try Self.refuseForeign(head, size: size)
            self = .flat(size: size)
        }
    }

    /// Where "HdrS" and the version behind it would have ended.
    private static let setupHeaderProof: UInt64 = 0x208

    private static func refuseForeign(_ head: LittleEndianBytes, size: UInt64) throws(KernelImageError) {
        // Image headers of other architectures (Documentation/arch/arm64/booting.rst, riscv/boot-image-header.rst).
        if head.matches(Array("ARM\u{64}".utf8), at: 56) { throw .foreignArchitecture("aarch64") }
        if head.matches(Array("RSC\u{5}".utf8), at: 56) { throw .foreignArchitecture("riscv64") }
        if let format = CompressionFormat(recognising: head) { throw .compressed(format.rawValue) }

        let isPE = head.matches([0x4d, 0x5a])
        if isPE, head.matches(Array("zimg".utf8), at: 4) { throw .compressed("EFI zboot") }
        let hasBootFlag = head.load(UInt16.self, at: BootParameters.Offset.bootFlag) == BootParameters.bootFlag
        // What the boot sector of a bzImage starts with: "MZ" with an EFI stub; since 4.x without one it is filled with
        // 0xff (no instruction of x86); before, a far jump. Cut short of "HdrS" it must not pass for a flat binary.
        let startsLikeBzImage =
            isPE || head.matches([0xff, 0xff, 0xff, 0xff]) || head.matches([0xea, 0x05, 0x00, 0xc0, 0x07])
        if size < setupHeaderProof, startsLikeBzImage || hasBootFlag {
            throw .truncated(.bzImage, needed: setupHeaderProof, size: size)
        }
        if isPE { throw .efiProgram }
        if hasBootFlag { throw .bootSector }
    }
}
