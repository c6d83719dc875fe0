public import BootCommon

/// Why a kernel and its initrd cannot be laid out in this machine's memory. Sizes and addresses in bytes.
public enum AArch64BootPlanError: Error, Equatable, Sendable {
    /// RAM of 2 MiB or less, or that does not start at a multiple of 2 MiB, or does not end below 48 bits.
    case ram(base: UInt64, size: UInt64)
    /// The header asks for a place that 64 bits do not count.
    case kernelWraps(textOffset: UInt64, size: UInt64)
    case kernelDoesNotFit(GuestRange, limit: UInt64)
    case initrdEmpty
    case initrdDoesNotFit(size: UInt64, kernel: GuestRange, limit: UInt64)
}

extension AArch64BootPlanError {
    /// The file that has to change, nil when it is the machine's configuration.
    public var file: BootFileKind? {
        switch self {
        case .ram: nil
        case .kernelWraps, .kernelDoesNotFit: .kernel
        case .initrdEmpty, .initrdDoesNotFit: .initrd
        }
    }
}

extension AArch64BootPlanError: CustomStringConvertible {
    /// A sentence of its own when `file` is nil; otherwise it completes "kernel 'path': …".
    public var description: String {
        switch self {
        case .ram(let base, let size): "no kernel boots in \(size) bytes of memory at \(hex(base))"
        case .kernelWraps(let offset, let size):
            "needs \(size) bytes from text offset \(hex(offset)) on, more than 64 bits count"
        case .kernelDoesNotFit(let range, let limit): "needs memory \(range), but RAM ends at \(hex(limit))"
        case .initrdEmpty: "the file is empty"
        case .initrdDoesNotFit(let size, let kernel, let limit):
            "\(size) bytes do not fit between the kernel at \(kernel) and \(hex(limit)): give the machine more memory"
        }
    }
}
