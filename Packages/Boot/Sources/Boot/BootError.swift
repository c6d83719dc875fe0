public import AddressSpace
public import BootAArch64
public import BootCommon
public import BootDecompression
public import BootX86
public import LinuxSys

/// A file that the user named, as messages name it: `kernel '/boot/vmlinuz'`.
public struct BootFileName: Equatable, Sendable, CustomStringConvertible {
    public let file: BootFileKind
    public let path: String

    public var description: String {
        switch file {
        case .kernel: "kernel '\(path)'"
        case .initrd: "initrd '\(path)'"
        }
    }

    /// The one of the two that an error is about; nil when it is about neither.
    static func of(_ file: BootFileKind?, kernel: BootFileName, initrd: BootFileName?) -> BootFileName? {
        switch file {
        case .kernel: kernel
        case .initrd: initrd
        case nil: nil
        }
    }
}

/// Why a kernel cannot be booted; `description` is one sentence for the user.
public enum BootError: Error, Equatable, Sendable {
    /// Opening or reading failed.
    case file(BootFileName, Errno)
    /// A directory, device, FIFO or socket.
    case notRegularFile(BootFileName)
    /// The file became shorter while it was loaded.
    case shrank(BootFileName)
    case x86Image(BootFileName, KernelImageError)
    /// The file is nil when the machine's configuration is at fault.
    case x86Plan(BootFileName?, X86BootPlanError)
    case aarch64Image(BootFileName, AArch64ImageError)
    /// As with `x86Plan`.
    case aarch64Plan(BootFileName?, AArch64BootPlanError)
    case decompression(BootFileName, DecompressionError)
    /// What came out when the file was decompressed is no kernel.
    case decompressedImage(BootFileName, AArch64ImageError)
    /// What comes out does not fit into this part of RAM, which is what the kernel may fill.
    case decompressedKernelDoesNotFit(BootFileName, GuestRange)
    /// The machine's RAM is not what its layout says.
    case memory(address: UInt64, GuestMemoryError)

    init(_ name: BootFileName, _ error: KernelSourceError) {
        self =
            switch error {
            case .readFailed(let code): .file(name, Errno(code))
            case .shrank: .shrank(name)
            }
    }
}

extension BootError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .file(let name, let errno): "\(name): \(errno)"
        case .notRegularFile(let name): "\(name): not a regular file"
        case .shrank(let name): "\(name): became shorter while it was loaded"
        case .x86Image(let name, let error): "\(name): \(error)"
        case .aarch64Image(let name, let error): "\(name): \(error)"
        case .x86Plan(let name?, let error): "\(name): \(error)"
        case .x86Plan(nil, let error): error.description
        case .aarch64Plan(let name?, let error): "\(name): \(error)"
        case .aarch64Plan(nil, let error): error.description
        case .decompression(let name, let error): "\(name): \(error)"
        case .decompressedImage(let name, let error): "\(name): decompressed: \(error)"
        case .decompressedKernelDoesNotFit(let name, let range): "\(name): decompressed, it does not fit into memory \(range)"
        case .memory(let address, let error): "cannot write boot data to 0x\(String(address, radix: 16)): \(error)"
        }
    }
}
