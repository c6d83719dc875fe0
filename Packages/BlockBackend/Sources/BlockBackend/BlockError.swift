public import LinuxSys

/// Why a disk image cannot be used. Thrown only while it is opened; errors of single operations are negative errnos.
public enum BlockError: Error, Equatable, Sendable {
    case cannotOpen(path: String, Errno)
    /// The file exists but may not be written (permissions, a read-only file system or device), and the drive is not read-only.
    case notWritable(path: String, Errno)
    case wrongKind(path: String, FileStatus.Kind)
    /// No whole sector of 512 bytes.
    case tooSmall(path: String)
    case inUse(path: String, readOnly: Bool)
    case cannotLock(path: String, Errno)
    case cannotInspect(path: String, Errno)
    /// The file system or device refuses O_DIRECT, or demands more alignment than can be served.
    case directUnsupported(path: String)
    case engineUnavailable(path: String, Errno)
    /// aio=native: the kernel is built without AIO, or the host's contexts are used up.
    case nativeUnavailable(path: String, Errno)
    case nativeNeedsDirect(path: String)
    case outOfResources(path: String, Errno)
}

extension BlockError: CustomStringConvertible {
    /// One sentence for the user.
    public var description: String {
        switch self {
        case .cannotOpen(let path, let error): "cannot open drive '\(path)': \(error)"
        case .notWritable(let path, let error): "drive '\(path)' cannot be opened for writing (\(error)); use readonly=on or make it writable"
        case .wrongKind(let path, let kind): "drive '\(path)' is \(Self.name(of: kind)); it must be a regular file or a block device"
        case .tooSmall(let path): "drive '\(path)' is smaller than one sector of 512 bytes"
        case .inUse(let path, readOnly: true): "drive '\(path)' is already in use: another drive or process may write to it"
        case .inUse(let path, readOnly: false): "drive '\(path)' is already in use by another drive or process"
        case .cannotLock(let path, let error): "cannot lock drive '\(path)': \(error)"
        case .cannotInspect(let path, let error): "cannot find out the size of drive '\(path)': \(error)"
        case .directUnsupported(let path): "drive '\(path)' does not support direct=on; use direct=off"
        case .engineUnavailable(let path, let error): "io_uring is not available for drive '\(path)' (\(error)); use aio=threads"
        case .nativeUnavailable(let path, let error):
            "Linux AIO is not available for drive '\(path)' (\(error)\(error == .again ? ": see /proc/sys/fs/aio-max-nr" : "")); use aio=io_uring or aio=threads"
        case .nativeNeedsDirect(let path): "aio=native of drive '\(path)' needs direct=on"
        case .outOfResources(let path, let error): "cannot prepare drive '\(path)': \(error)"
        }
    }

    private static func name(of kind: FileStatus.Kind) -> String {
        switch kind {
        case .regular: "a regular file"
        case .directory: "a directory"
        case .blockDevice: "a block device"
        case .characterDevice: "a character device"
        case .fifo: "a FIFO"
        case .socket: "a socket"
        case .other: "of an unknown kind"
        }
    }
}
