internal import CLinuxSys
internal import Glibc

/// How a file is opened; flags of open(2). Every descriptor is close-on-exec.
public struct OpenFlags: OptionSet, Sendable {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    public static let readOnly = OpenFlags([])
    public static let writeOnly = OpenFlags(rawValue: O_WRONLY)
    public static let readWrite = OpenFlags(rawValue: O_RDWR)
    public static let create = OpenFlags(rawValue: O_CREAT)
    /// With `create`: the file must not exist.
    public static let exclusive = OpenFlags(rawValue: O_EXCL)
    public static let truncate = OpenFlags(rawValue: O_TRUNC)
    public static let append = OpenFlags(rawValue: O_APPEND)
    public static let nonBlocking = OpenFlags(rawValue: O_NONBLOCK)
    public static let noControllingTerminal = OpenFlags(rawValue: O_NOCTTY)
    /// O_DIRECT: buffers, lengths and offsets must be multiples of the device's logical block size.
    public static let direct = OpenFlags(rawValue: sys_open_direct)
    /// O_PATH: names a file without opening it.
    public static let nameOnly = OpenFlags(rawValue: sys_open_path)
}

/// What stat(2) tells of a file.
public struct FileStatus: Equatable, Sendable {
    public enum Kind: Equatable, Sendable { case regular, directory, blockDevice, characterDevice, fifo, socket, other }
    public let kind: Kind
    /// Bytes; 0 for devices.
    public let size: UInt64
    public let device: UInt64
    public let inode: UInt64
    /// Bytes really allocated.
    public let allocated: UInt64
    /// When its content last changed, seconds since 1970-01-01 UTC.
    public let modified: Int

    init(_ status: stat) {
        switch status.st_mode & S_IFMT {
        case S_IFREG: kind = .regular
        case S_IFDIR: kind = .directory
        case S_IFBLK: kind = .blockDevice
        case S_IFCHR: kind = .characterDevice
        case S_IFIFO: kind = .fifo
        case S_IFSOCK: kind = .socket
        default: kind = .other
        }
        size = UInt64(clamping: status.st_size)
        device = UInt64(truncatingIfNeeded: status.st_dev)
        inode = UInt64(truncatingIfNeeded: status.st_ino)
        allocated = UInt64(clamping: status.st_blocks) &* 512
        modified = status.st_mtim.tv_sec
    }
}

/// Files by path.
public enum SysFile {
    /// Opens `path`; a NUL byte inside it is refused as an invalid argument rather than cutting it short.
    public static func open(_ path: String, _ flags: OpenFlags, mode: UInt32 = 0o600) throws(Errno) -> OwnedFD {
        if path.utf8.contains(0) { throw .invalid }
        return OwnedFD(adopting: Int32(truncatingIfNeeded: try retryInterrupted { unsafe sys_open(path, flags.rawValue, mode) }))
    }

    /// Status of an open file.
    public static func status(of file: borrowing OwnedFD) throws(Errno) -> FileStatus {
        var status = stat()
        _ = try check(unsafe sys_fstat(file.raw, &status))
        return FileStatus(status)
    }

    /// Status of the file at `path`; a symbolic link is not followed.
    public static func linkStatus(_ path: String) throws(Errno) -> FileStatus {
        if path.utf8.contains(0) { throw .invalid }
        var status = stat()
        _ = try check(unsafe sys_lstat(path, &status))
        return FileStatus(status)
    }

    /// The absolute path of an existing file, without symbolic links.
    public static func resolve(_ path: String) -> String? {
        guard !path.utf8.contains(0), let resolved = unsafe realpath(path, nil) else { return nil }
        // SAFETY: realpath allocated the text, which is copied before it is freed.
        defer { unsafe free(resolved) }
        return unsafe String(validatingCString: resolved)
    }

    public static func remove(_ path: String) throws(Errno) {
        _ = try check(unsafe sys_unlink(path))
    }
}

extension OwnedFD {
    /// Locks the whole file for this open file description (fcntl(2) OFD lock), without waiting. Throws EAGAIN or EACCES when somebody else
    /// holds a conflicting lock. The lock goes with the last duplicate of the descriptor.
    public borrowing func lock(exclusive: Bool) throws(Errno) { _ = try check(sys_ofd_lock(raw, exclusive)) }

    public borrowing func unlock() throws(Errno) { _ = try check(sys_ofd_unlock(raw)) }
}
