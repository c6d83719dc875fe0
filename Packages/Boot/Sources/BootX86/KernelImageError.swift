public import BootCommon

/// Why a file is no kernel that this machine can boot. `description` completes "kernel 'path': …".
public enum KernelImageError: Error, Equatable, Sendable {
    public enum Format: String, Sendable {
        case bzImage
        case elf = "ELF kernel"
    }

    case source(KernelSourceError)
    case empty
    /// No kernel is this short; size in bytes.
    case tooShort(UInt64)
    /// Both in bytes.
    case truncated(Format, needed: UInt64, size: UInt64)
    /// Name of the compression.
    case compressed(String)
    case foreignArchitecture(String)
    /// A PE program without a Linux boot header.
    case efiProgram
    /// 0xAA55 at 510 and no Linux boot header.
    case bootSector

    // bzImage
    case setupHeaderWithoutBootFlag
    /// Boot protocol, major in the high byte.
    case protocolTooOld(UInt16)
    case setupHeaderTooShort(version: UInt16, end: UInt64)
    /// A zImage.
    case loadsLow
    case bzImage32Bit
    case kernelAlignment(UInt32)
    case kernelAddressWraps

    // ELF
    case elf32Bit
    case elfBigEndian
    case elfVersion(UInt32)
    /// e_type.
    case elfNotExecutable(UInt16)
    /// e_machine.
    case elfMachine(UInt16)
    /// e_phentsize; 56 is right.
    case programHeaderSize(UInt16)
    case programHeaderCount(UInt16, limit: Int)
    case noLoadableSegment
    case segmentFileSizeExceedsMemorySize(index: Int)
    case segmentWraps(index: Int)
    case segmentsOverlap(Int, Int)
    case notesTooLarge(UInt64)
    case entryOutsideSegments(UInt64)
}

extension KernelImageError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .source(let error): error.description
        case .empty: "the file is empty"
        case .tooShort(let size): "\(size) bytes are too short for a kernel"
        case .truncated(let format, let needed, let size):
            "truncated \(format.rawValue): it needs at least \(needed) bytes, the file has \(size)"
        case .compressed(let name): "is compressed with \(name): decompress it first"
        case .foreignArchitecture(let name): "is a kernel for \(name), this machine is x86_64"
        case .efiProgram: "is an EFI program without a Linux boot header: it needs firmware to start"
        case .bootSector: "is a boot sector or disk image without a Linux boot header"
        case .setupHeaderWithoutBootFlag: "malformed bzImage: the boot flag 0xaa55 is missing"
        case .protocolTooOld(let version):
            "boot protocol \(Self.dotted(version)) is too old: 2.02 is the oldest that works"
        case .setupHeaderTooShort(let version, let end):
            "malformed bzImage: the setup header ends at \(hex(end)), too early for protocol \(Self.dotted(version))"
        case .loadsLow: "is a zImage, which loads below 1 MiB: use a bzImage"
        case .bzImage32Bit: "is a 32-bit bzImage: it has no 64-bit entry point"
        case .kernelAlignment(let value):
            "malformed bzImage: kernel alignment \(hex(UInt64(value))) is not a power of two"
        case .kernelAddressWraps: "malformed bzImage: its memory range exceeds 64 bits"
        case .elf32Bit: "is a 32-bit ELF file: only 64-bit kernels boot"
        case .elfBigEndian: "is a big-endian ELF file"
        case .elfVersion(let version): "malformed ELF kernel: version \(version) is unknown"
        case .elfNotExecutable(let type): "is an ELF file of type \(type), not an executable"
        case .elfMachine(let machine): "is an ELF file for machine \(machine), this machine is x86_64 (62)"
        case .programHeaderSize(let size): "malformed ELF kernel: program headers of \(size) bytes instead of 56"
        case .programHeaderCount(let count, let limit):
            "malformed ELF kernel: \(count) program headers, 1 to \(limit) are accepted"
        case .noLoadableSegment: "malformed ELF kernel: no segment to load"
        case .segmentFileSizeExceedsMemorySize(let index):
            "malformed ELF kernel: segment \(index) is larger in the file than in memory"
        case .segmentWraps(let index): "malformed ELF kernel: segment \(index) exceeds 64 bits"
        case .segmentsOverlap(let first, let second):
            "malformed ELF kernel: segments \(first) and \(second) overlap in memory"
        case .notesTooLarge(let size): "malformed ELF kernel: a note segment of \(size) bytes"
        case .entryOutsideSegments(let entry):
            "malformed ELF kernel: entry \(hex(entry)) lies in no loaded segment"
        }
    }

    private static func dotted(_ version: UInt16) -> String {
        let minor = version & 0xff
        return "\(version >> 8)." + (minor < 10 ? "0" : "") + "\(minor)"
    }
}
