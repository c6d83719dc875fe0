internal import CLiburing
internal import Glibc
internal import LinuxSys

/// Linux AIO for one direct file: `aio=native`. On other files io_submit(2) would wait for the disk, so only direct images have one.
///
/// The system calls themselves and not libaio, which adds nothing but their numbers. Completions are taken from the kernel's ring without one. What is
/// submitted belongs to the process and not to a thread: the owner's thread may end. Memory: for 128 operations 9 KiB here and the ring, 8 KiB.
@safe final class NativeQueue: @unchecked Sendable {
    // SAFETY: allocated in `init` with `capacity` elements, freed in deinit; `completions` is mapped as long as the context is there. Only the image's owner thread calls.
    private let context: aio_context_t
    private let blocks: UnsafeMutablePointer<iocb>
    private let order: UnsafeMutablePointer<UnsafeMutablePointer<iocb>?>
    private let completions: UnsafeMutablePointer<block_aio_ring>
    private let capacity: Int
    private let file: Int32
    private let completion: Int32
    /// Of `order`, [first, prepared) waits to be submitted. The kernel has copied what is before.
    private var first = 0
    private var prepared = 0
    /// False once the file system has refused IOCB_CMD_FDSYNC (kernels before 4.18 refuse it always): then a worker calls fdatasync.
    private var takesFlushes = true

    /// A context for `entries` operations on `file` whose completions signal the eventfd `completion`. Throws ENOSYS where the kernel is built without AIO, and
    /// EAGAIN where all contexts of the host together have reached /proc/sys/fs/aio-max-nr.
    init(entries: Int, file: borrowing OwnedFD, completion: Int32) throws(Errno) {
        var context: aio_context_t = 0
        // SAFETY: io_setup writes the number of the context during the call.
        let result = unsafe block_aio_setup(UInt32(clamping: entries), &context)
        guard result >= 0 else { throw Errno(Int32(clamping: 0 &- result)) }
        guard let completions = unsafe block_aio_ring(context) else {
            block_aio_destroy(context)
            throw .notSupported
        }
        unsafe self.completions = completions
        self.context = context
        capacity = entries
        self.file = file.raw
        self.completion = completion
        unsafe blocks = .allocate(capacity: entries)
        unsafe blocks.initialize(repeating: iocb(), count: entries)
        unsafe order = .allocate(capacity: entries)
        unsafe order.initialize(repeating: nil, count: entries)
    }

    static func open(entries: UInt32, file: borrowing OwnedFD, completion: Int32) throws(Errno) -> NativeQueue {
        try NativeQueue(entries: Int(entries), file: file, completion: completion)
    }

    deinit {
        block_aio_destroy(context)
        unsafe blocks.deallocate()
        unsafe order.deallocate()
    }

    func prepare(_ transfer: borrowing Transfer, userData: UInt64) -> Bool {
        let kind = transfer.operation.kind
        guard prepared < capacity, kind != .flush || takesFlushes else { return false }
        // SAFETY: prepared < capacity. The kernel uses the iovecs and their memory until the completion, which is BlockOperation's promise.
        let block = unsafe blocks + prepared
        unsafe block.pointee = iocb()
        unsafe block.pointee.aio_data = userData
        unsafe block.pointee.aio_fildes = UInt32(bitPattern: file)
        unsafe block.pointee.aio_flags = UInt32(IOCB_FLAG_RESFD)
        unsafe block.pointee.aio_resfd = UInt32(bitPattern: completion)
        if kind == .flush {
            unsafe block.pointee.aio_lio_opcode = UInt16(IOCB_CMD_FDSYNC)
        } else {
            unsafe block.pointee.aio_lio_opcode = UInt16(kind == .read ? IOCB_CMD_PREADV : IOCB_CMD_PWRITEV)
            unsafe block.pointee.aio_buf = UInt64(UInt(bitPattern: transfer.vectors))
            unsafe block.pointee.aio_nbytes = UInt64(UInt32(bitPattern: transfer.vectorCount))
            unsafe block.pointee.aio_offset = Int64(clamping: transfer.position)
        }
        unsafe order[prepared] = block
        prepared &+= 1
        return true
    }

    func submit() -> KernelQueue.SubmitResult {
        while first < prepared {
            // SAFETY: elements [first, prepared) were filled by `prepare`; the kernel copies what it takes.
            let result = unsafe block_aio_submit(context, prepared &- first, order + first)
            if result > 0 {
                first &+= result
                continue
            }
            switch Int32(clamping: 0 &- result) {
            case EINTR: continue
            case EAGAIN: return .tryLater
            case ENOSYS, EPERM, EACCES: return .broken
            default: return refuse()
            }
        }
        first = 0
        prepared = 0
        return .submitted
    }

    private func refuse() -> KernelQueue.SubmitResult {
        // SAFETY: first < prepared <= capacity.
        let block = unsafe blocks[first]
        if block.aio_lio_opcode == UInt16(IOCB_CMD_FDSYNC) { takesFlushes = false }
        first &+= 1
        return .refused(userData: block.aio_data)
    }

    func forEachUnsubmitted(_ body: (UInt64) -> Void) {
        // SAFETY: first <= prepared <= capacity.
        for index in first..<prepared { body(unsafe blocks[index].aio_data) }
    }

    var hasCompletions: Bool { unsafe block_aio_has_events(completions) != 0 }

    func next() -> (userData: UInt64, result: Int32)? {
        var event = io_event()
        guard unsafe block_aio_next(completions, &event) != 0 else { return nil }
        return (event.data, Int32(clamping: event.res))
    }
}
