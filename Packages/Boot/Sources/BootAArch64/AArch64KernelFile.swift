public import BootCommon

/// A kernel file whose format was recognised by its content; its name means nothing.
public enum AArch64KernelFile: Equatable, Sendable {
    /// An `Image`; size of the file in bytes.
    case image(AArch64ImageHeader, size: UInt64)
    /// An Image that is compressed, alone or as the payload of an EFI zboot image; where it is in the file, in bytes.
    case compressed(KernelCompression, offset: UInt64, size: UInt64)

    /// What tells all formats apart, in bytes.
    package static let headSize: UInt64 = 4096

    /// Reads the first 4 KiB of the file.
    /// - Throws: every way in which the file is damaged, or not for aarch64.
    public init(recognising source: borrowing some KernelSource & ~Copyable) throws(AArch64ImageError) {
        let size = source.size
        guard size > 0 else { throw .empty }
        let head: LittleEndianBytes
        do throws(KernelSourceError) {
            head = LittleEndianBytes(
                try source.read(at: 0, count: Int(truncatingIfNeeded: min(size, Self.headSize))))
        } catch {
            throw .source(error)
        }
        try self.init(head: head, size: size)
    }

    /// - Parameters:
    ///   - head: the first 4 KiB of the file, or all of it.
    ///   - size: of the file, in bytes.
    package init(head: LittleEndianBytes, size: UInt64) throws(AArch64ImageError) {
        guard size > 0 else { throw .empty }
        if head.matches(AArch64ImageHeader.magic, at: AArch64ImageHeader.magicOffset) {
            self = .image(try AArch64ImageHeader(head), size: size)
        } else if ZbootHeader.recognises(head) {
            // Of the other architectures that have such images the PE header tells, before anything is decompressed.
            if let foreign = Self.foreignArchitecture(head) { throw .foreignArchitecture(foreign) }
            let zboot = try ZbootHeader(head, size: size)
            self = .compressed(zboot.compression, offset: zboot.payloadOffset, size: zboot.payloadSize)
        } else {
            switch CompressionFormat(recognising: head) {
            case .gzip: self = .compressed(.gzip, offset: 0, size: size)
            case .zstd: self = .compressed(.zstd, offset: 0, size: size)
            case let format?: throw .compressed(format.rawValue)
            case nil: throw Self.refusal(head, size: size)
            }
        }
    }

    private static func refusal(_ head: LittleEndianBytes, size: UInt64) -> AArch64ImageError {
        if head.matches([0x7f, 0x45, 0x4c, 0x46]) { return elfRefusal(head, size: size) }
        if let foreign = foreignArchitecture(head) { return .foreignArchitecture(foreign) }
        if head.matches([0x4d, 0x5a]) { return .efiProgram }
        return size < UInt64(AArch64ImageHeader.size) ? .tooShort(size) : .notAKernel
    }

    private static func elfRefusal(_ head: LittleEndianBytes, size: UInt64) -> AArch64ImageError {
        switch head.load(UInt16.self, at: 18) {
        case nil: .tooShort(size)
        case 183: .elfKernel
        case 62: .foreignArchitecture("x86_64")
        case 243: .foreignArchitecture("riscv64")
        case let machine?: .elfMachine(machine)
        }
    }

    /// By the magic numbers of Documentation/arch/x86/boot.rst, arch/riscv/boot-image-header.rst and of 32-bit ARM's
    /// zImage, and by the machine of a PE header.
    private static func foreignArchitecture(_ head: LittleEndianBytes) -> String? {
        if head.matches(Array("HdrS".utf8), at: 0x202) { return "x86" }
        if head.matches(Array("RSC\u{5}".utf8), at: 56) { return "riscv64" }
        if head.load(UInt32.self, at: 0x24) == 0x016f_2818 { return "32-bit arm" }
        guard head.matches([0x4d, 0x5a]), let header = head.load(UInt32.self, at: 0x3c).flatMap(Int.init(exactly:)),
            head.matches(Array("PE\0\0".utf8), at: header)
        else { return nil }
        return switch head.load(UInt16.self, at: header + 4) {
        case 0x14c: "x86"
        case 0x8664: "x86_64"
        case 0x1c2: "32-bit arm"
        case 0x5064: "riscv64"
        case 0x6264: "loongarch64"
        default: nil
        }
    }
}
