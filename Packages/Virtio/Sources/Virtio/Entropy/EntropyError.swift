public import LinuxSys

/// Why there is no source of entropy. `description` is one sentence for the user.
public enum EntropyError: Error, Equatable, Sendable, CustomStringConvertible {
    case cannotOpen(path: String, Errno)
    case notACharacterDevice(path: String)
    /// Bytes in a period of milliseconds, together outside of 64 to 1,000,000,000 bytes a second.
    case badRate(maximumBytes: UInt64, periodMilliseconds: UInt64)
    case host(Errno)

    public var description: String {
        switch self {
        case .cannotOpen(let path, let errno): "-object rng-random: cannot open '\(path)': \(errno)"
        case .notACharacterDevice(let path): "-object rng-random: '\(path)' is not a character device"
        case .badRate(let bytes, let period):
            "-device virtio-rng-device: max-bytes=\(bytes) in period=\(period) ms is not between 64 and 1000000000 bytes a second"
        case .host(let errno): "-device virtio-rng-device: cannot set up its timer: \(errno)"
        }
    }
}
