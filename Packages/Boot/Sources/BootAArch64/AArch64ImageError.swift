public import BootCommon

/// Why a file is no kernel that this machine can boot. `description` completes "kernel 'path': …".
public enum AArch64ImageError: Error, Equatable, Sendable {
    case source(KernelSourceError)
    case empty
    /// No kernel is this short; size in bytes.
    case tooShort(UInt64)
    /// None of the known formats.
    case notAKernel
    /// Name of the compression.
    case compressed(String)
    case foreignArchitecture(String)
    /// e_machine.
    case elfMachine(UInt16)
    /// An ELF file for aarch64, which is linked for virtual addresses.
    case elfKernel
    /// A PE program without a Linux boot header.
    case efiProgram

    // EFI zboot images
    /// Both in bytes.
    case truncatedZboot(needed: UInt64, size: UInt64)
    /// In bytes: inside the header.
    case zbootPayloadOffset(UInt32)
    case zbootPayloadEmpty
    /// No name, or one that is not printable.
    case zbootCompressionType
    /// One that is not decompressed here.
    case zbootCompression(String)

    // The header of an Image
    case bigEndian
    /// image_size, in bytes.
    case imageSize(UInt64)
    /// text_offset, in bytes.
    case textOffset(UInt64)
}

extension AArch64ImageError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .source(let error): error.description
        case .empty: "the file is empty"
        case .tooShort(let size): "\(size) bytes are too short for a kernel"
        case .notAKernel: "is no aarch64 kernel: the magic number of an Image is missing"
        case .compressed(let name): "is compressed with \(name): decompress it first"
        case .foreignArchitecture(let name): "is a kernel for \(name), this machine is aarch64"
        case .elfMachine(let machine): "is an ELF file for machine \(machine), this machine is aarch64 (183)"
        case .elfKernel: "is an ELF file: use the Image that the kernel's build makes of vmlinux"
        case .efiProgram: "is an EFI program without a Linux boot header: it needs firmware to start"
        case .truncatedZboot(let needed, let size):
            "truncated EFI zboot image: it needs at least \(needed) bytes, the file has \(size)"
        case .zbootPayloadOffset(let offset):
            "malformed EFI zboot image: its payload starts at \(hex(UInt64(offset))), inside the header"
        case .zbootPayloadEmpty: "malformed EFI zboot image: it has no payload"
        case .zbootCompressionType: "malformed EFI zboot image: its compression has no name"
        case .zbootCompression(let name):
            "is an EFI zboot image compressed with \(name): gzip and zstd are the ones that can be booted"
        case .bigEndian: "is a big-endian kernel"
        case .imageSize(let size): "malformed Image: an image size of \(size) bytes is less than its header has"
        case .textOffset(let offset): "malformed Image: text offset \(hex(offset)) is not a multiple of 4"
        }
    }
}
