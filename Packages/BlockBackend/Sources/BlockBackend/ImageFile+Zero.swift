internal import CLiburing
internal import Glibc
internal import LinuxSys

/// Discard and zero writes (virtio 1.2, section 5.2.6.2).
extension ImageFile {
    func discard(_ operation: BlockOperation) -> Int32 {
        guard mayDiscard else { return -EOPNOTSUPP }
        guard isBlockDevice else {
            return Int32(clamping: allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, operation.offset, operation.length))
        }
        // A discard is a hint: the parts of blocks at its edges are left alone.
        let block = UInt64(sectorSize)
        let start = (operation.offset &+ (block &- 1)) & ~(block &- 1)
        let end = (operation.offset &+ operation.length) & ~(block &- 1)
        guard start < end else { return 0 }
        var range: (UInt64, UInt64) = (start, end &- start)
        // SAFETY: BLKDISCARD reads two 64-bit integers, start and length in bytes, during the call; a tuple of one type is laid out so.
        let result = unsafe withUnsafeMutableBytes(of: &range) { bytes in
            unsafe bytes.baseAddress.map { unsafe PositionalIO.control(file.raw, block_ioctl_discard, $0) } ?? -Int(EFAULT)
        }
        return Int32(clamping: result)
    }

    /// By fallocate(2), which both regular files and block devices (Linux 4.9) take; by writing zeros where they do not.
    func writeZeroes(_ transfer: inout Transfer, _ bounce: inout BounceBuffer) -> Int32 {
        let operation = transfer.operation
        if operation.mayUnmap, mayDiscard {
            let result = allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, operation.offset, operation.length)
            if !isRefusal(result) { return Int32(clamping: result) }
        }
        let result = allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, operation.offset, operation.length)
        if !isRefusal(result) { return Int32(clamping: result) }
        return writeZeroBytes(operation, &bounce)
    }

    func writeZeroBytes(_ operation: BlockOperation, _ bounce: inout BounceBuffer) -> Int32 {
        guard let memory = unsafe bounce.memory() else { return -ENOMEM }
        // SAFETY: memory is the thread's buffer of `BounceBuffer.capacity` bytes, and a piece is never larger.
        return unsafe writeBounced(from: operation.offset, to: operation.offset &+ operation.length, memory) { unsafe _ = memset($0, 0, $1) }
    }

    private func allocate(_ mode: Int32, _ offset: UInt64, _ count: UInt64) -> Int {
        var result = PositionalIO.allocate(file.raw, mode: mode, at: offset, count: count)
        while result == -Int(EINTR) { result = PositionalIO.allocate(file.raw, mode: mode, at: offset, count: count) }
        return result
    }

    /// The file system or device cannot do it this way; another way may work. Block devices say EINVAL for a range that their blocks do not divide.
    private func isRefusal(_ result: Int) -> Bool {
        switch Int32(clamping: 0 &- result) {
        case EOPNOTSUPP, ENOSYS, EINVAL, ENODEV, ENOTTY: true
        default: false
        }
    }
}
