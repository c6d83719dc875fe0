internal import CLiburing
internal import Glibc
internal import LinuxSys

/// An opened, inspected and locked image file. Every member may be used on any thread; calls block.
final class ImageFile: Sendable {
    let file: OwnedFD
    /// A second opening of the same file, always through the page cache (see `bufferedStart`), which carries the lock. A ring keeps `file` open for
    /// some milliseconds after the process has died, and a lock on it would refuse the virtual machine that is started next. The kernel ends
    /// what is in flight before it closes a dying process's other files, so nothing is written after the lock is gone.
    private let lockedFile: OwnedFD
    /// Where operations on [bufferedStart, size) go; `file` itself when the image is not direct.
    let bufferedFD: Int32
    /// Direct images: where direct I/O ends. A file whose size is no multiple of the alignment cannot have its last block written directly
    /// without growing, so that block goes through the page cache; the boundary is also page-aligned, because one page must not be
    /// written both ways (open(2), section O_DIRECT). Otherwise 0.
    let bufferedStart: UInt64
    /// Non-nil when the image is direct.
    let alignment: DirectAlignment?
    /// Bytes; a multiple of 512.
    let size: UInt64
    let sectorSize: UInt32
    let isBlockDevice: Bool
    let isReadOnly: Bool
    let mayDiscard: Bool

    /// Opens as `options` say. The order matters: the kind is known before an opening that could have side effects (a FIFO would wait
    /// for a writer, a tape would rewind), and the lock is held before the size is read.
    ///
    /// `stricter` stands for the demands of a disk that the tests' host does not have.
    init(_ options: RawImageOptions, alignment stricter: DirectAlignment? = nil) throws(BlockError) {
        let path = options.path
        try Self.checkKind(path)
        file = try Self.open(options)
        let status = try Self.status(of: file, path)
        guard status.kind == .regular || status.kind == .blockDevice else { throw .wrongKind(path: path, status.kind) }
        lockedFile = try Self.openAgain(options, like: status)
        do { try lockedFile.lock(exclusive: !options.readOnly) } catch {
            guard error == .again || error == .accessDenied else { throw .cannotLock(path: path, error) }
            throw .inUse(path: path, readOnly: options.readOnly)
        }
        isReadOnly = options.readOnly
        isBlockDevice = status.kind == .blockDevice
        mayDiscard = options.discard && !options.readOnly

        var bytes = try Self.status(of: file, path).size
        var blockSize: UInt32 = 512
        if isBlockDevice {
            do { (bytes, blockSize) = try Self.geometry(of: file) } catch { throw .cannotInspect(path: path, error) }
            if !options.readOnly, Self.isWriteProtected(file) { throw .notWritable(path: path, Errno(EROFS)) }
        }
        sectorSize = blockSize
        size = bytes & ~511
        guard size > 0 else { throw .tooSmall(path: path) }

        guard options.direct else {
            alignment = nil
            bufferedFD = file.raw
            bufferedStart = 0
            return
        }
        guard let found = stricter ?? DirectAlignment.find(file, sectorSize: isBlockDevice ? blockSize : nil) else { throw .directUnsupported(path: path) }
        alignment = found
        bufferedFD = lockedFile.raw
        bufferedStart = found.isOffsetAligned(size) ? size : size & ~(max(found.offset, 4096) &- 1)
    }

    /// Takes or gives up the lock on the file.
    func setLocked(_ isLocked: Bool) throws(Errno) {
        if isLocked { try lockedFile.lock(exclusive: !isReadOnly) } else { try lockedFile.unlock() }
    }

    private static func checkKind(_ path: String) throws(BlockError) {
        // O_PATH opens no device and waits for nobody; it only names the file.
        let name: OwnedFD
        do { name = try SysFile.open(path, .nameOnly) } catch { throw .cannotOpen(path: path, error) }
        let status = try status(of: name, path)
        guard status.kind == .regular || status.kind == .blockDevice else { throw .wrongKind(path: path, status.kind) }
    }

    private static func open(_ options: RawImageOptions) throws(BlockError) -> OwnedFD {
        // The file may have been replaced by a FIFO or a terminal since it was checked: neither may hang us or become ours.
        var flags: OpenFlags = [options.readOnly ? .readOnly : .readWrite, .nonBlocking, .noControllingTerminal]
        if options.direct { flags.insert(.direct) }
        let file: OwnedFD
        do { file = try SysFile.open(options.path, flags) } catch {
            switch error.code {
            case EACCES where !options.readOnly, EPERM where !options.readOnly, EROFS where !options.readOnly, ETXTBSY:
                throw .notWritable(path: options.path, error)
            case EINVAL where options.direct: throw .directUnsupported(path: options.path)
            default: throw .cannotOpen(path: options.path, error)
            }
        }
        // io_uring takes O_NONBLOCK as a wish to get EAGAIN instead of waiting for the disk.
        do { try file.setNonBlocking(false) } catch { throw .cannotInspect(path: options.path, error) }
        return file
    }

    /// Opens the file through the page cache too, and makes sure that it is the same file.
    private static func openAgain(_ options: RawImageOptions, like status: FileStatus) throws(BlockError) -> OwnedFD {
        var buffered = options
        buffered.direct = false
        let second = try open(buffered)
        let secondStatus = try Self.status(of: second, options.path)
        guard secondStatus.device == status.device, secondStatus.inode == status.inode, secondStatus.kind == status.kind else {
            throw .cannotOpen(path: options.path, Errno(ESTALE))
        }
        return second
    }

    private static func status(of file: borrowing OwnedFD, _ path: String) throws(BlockError) -> FileStatus {
        do { return try SysFile.status(of: file) } catch { throw .cannotInspect(path: path, error) }
    }

    /// Size and logical block size of a block device, in bytes.
    private static func geometry(of file: borrowing OwnedFD) throws(Errno) -> (UInt64, UInt32) {
        var size: UInt64 = 0
        var sector: Int32 = 0
        // SAFETY: BLKGETSIZE64 writes a 64-bit integer and BLKSSZGET a C int, each during the call.
        let sizeResult = unsafe PositionalIO.control(file.raw, block_ioctl_get_size, &size)
        guard sizeResult >= 0 else { throw Errno(Int32(clamping: 0 &- sizeResult)) }
        let sectorResult = unsafe PositionalIO.control(file.raw, block_ioctl_get_sector_size, &sector)
        guard sectorResult >= 0 else { throw Errno(Int32(clamping: 0 &- sectorResult)) }
        let known = sector >= 512 && sector.nonzeroBitCount == 1
        return (size, known ? UInt32(sector) : 512)
    }

    /// Kernels before 6.5 open a write-protected device for writing and fail each write instead.
    private static func isWriteProtected(_ file: borrowing OwnedFD) -> Bool {
        var flag: Int32 = 0
        // SAFETY: BLKROGET writes a C int during the call.
        return unsafe PositionalIO.control(file.raw, block_ioctl_get_read_only, &flag) == 0 && flag != 0
    }

    /// True when direct I/O cannot take the operation as it is: bytes, addresses or the file's buffered end are in the way.
    @inline(__always)
    func needsBounce(_ operation: BlockOperation) -> Bool {
        guard let alignment else { return false }
        return mustBounce(operation, alignment)
    }

    private func mustBounce(_ operation: BlockOperation, _ alignment: DirectAlignment) -> Bool {
        if !alignment.isOffsetAligned(operation.offset | operation.length) { return true }
        if operation.offset &+ operation.length > bufferedStart { return true }
        guard let vectors = unsafe operation.iovecs else { return false }
        var bits: UInt64 = 0
        for index in 0..<Int(operation.iovecCount) {
            // SAFETY: the iovecs are alive until the operation completes, and index < iovecCount.
            let vector = unsafe vectors[index]
            let address = unsafe UInt64(UInt(bitPattern: vector.iov_base))
            bits |= unsafe (address & (alignment.memory &- 1)) | (UInt64(vector.iov_len) & (alignment.offset &- 1))
        }
        return bits != 0
    }

    /// True when the operation changes only a part of a block that can only be written whole.
    func isReadModifyWrite(_ operation: BlockOperation) -> Bool {
        guard let alignment, operation.kind == .write || operation.kind == .writeZeroes else { return false }
        let end = operation.offset &+ operation.length
        return operation.offset < bufferedStart && !alignment.isOffsetAligned(operation.offset)
            || end < bufferedStart && !alignment.isOffsetAligned(end)
    }
}
