public import BootCommon
public import LinuxSys

/// Why a compressed kernel could not be decompressed. `description` completes "kernel 'path': …".
public enum DecompressionError: Error, Equatable, Sendable {
    case source(KernelSourceError)
    /// The data end before the stream does.
    case endsEarly(KernelCompression)
    /// What the library found wrong.
    case damaged(KernelCompression, String)
    /// More comes out than there is room for.
    case tooLarge
    /// The host has no memory for the decoder.
    case memory(Errno)
}

extension DecompressionError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .source(let error): error.description
        case .endsEarly(let format): "its \(format.rawValue) data end too early"
        case .damaged(let format, let reason): "its \(format.rawValue) data are damaged: \(reason)"
        case .tooLarge: "decompressed, it is too large"
        case .memory(let errno): "cannot be decompressed: \(errno)"
        }
    }
}
