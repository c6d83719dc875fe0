internal import CLiburing
internal import Glibc
internal import LinuxSys

/// Linux AIO for one direct file: `aio=native`. On other files io_submit(2) would wait for the disk, so only direct images have one.
///
/// The system calls themselves and not libaio, which adds nothing but their numbers. What is submitted belongs to the process and not to a thread: the owner's
/// thread may end. Memory: for 128 operations 9 KiB here and the kernel's ring of completions, 8 KiB, which is mapped.
@safe final class NativeQueue: @unchecked Sendable {
    // SAFETY: allocated in `init` with `capacity` (`blocks`, `order`) or `batch` (`events`) elements, freed in deinit; only the image's owner thread calls.
    private let context: aio_context_t
    private let blocks: UnsafeMutablePointer<iocb>
    private let order: UnsafeMutablePointer<UnsafeMutablePointer<iocb>?>
    private let events: UnsafeMutablePointer<io_event>
    private let capacity: Int
    private let file: Int32
    private let completion: Int32
    /// Of `order`, [first, prepared) waits to be submitted. The kernel has copied what is before.
    private var first = 0
    private var prepared = 0
    private var nextEvent = 0
    private var eventCount = 0
    /// False once the file system has refused IOCB_CMD_FDSYNC (kernels before 4.18 refuse it always): then a worker calls fdatasync.
    private var takesFlushes = true
    private static let batch = 32

    /// A context for `entries` operations on `file` whose completions signal the eventfd `completion`. Throws ENOSYS where the kernel is built without AIO, and
    /// EAGAIN where all contexts of the host together have reached /proc/sys/fs/aio-max-nr.
    init(entries: Int, file: borrowing OwnedFD, completion: Int32) throws(Errno) {
        var context: aio_context_t = 0
        // SAFETY: io_setup writes the number of the context during the call.
        let result = unsafe block_aio_setup(UInt32(clamping: entries), &context)
        guard result >= 0 else { throw Errno(Int32(clamping: 0 &- result)) }
        self.context = context
        capacity = entries
        self.file = file.raw
        self.completion = completion
        unsafe blocks = .allocate(capacity: entries)
        unsafe blocks.initialize(repeating: iocb(), count: entries)
        unsafe order = .allocate(capacity: entries)
        unsafe order.initialize(repeating: nil, count: entries)
        unsafe events = .allocate(capacity: Self.batch)
        unsafe events.initialize(repeating: io_event(), count: Self.batch)
    }

    static func open(entries: UInt32, file: borrowing OwnedFD, completion: Int32) throws(Errno) -> NativeQueue {
        try NativeQueue(entries: Int(entries), file: file, completion: completion)
    }

    deinit {
        block_aio_destroy(context)
        unsafe blocks.deallocate()
        unsafe order.deallocate()
        unsafe events.deallocate()
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

    func next() -> (userData: UInt64, result: Int32)? {
        if nextEvent == eventCount {
            // A call that found less than there was room for has found all: what came later has signalled again.
            let isAll = eventCount > 0 && eventCount < Self.batch
            nextEvent = 0
            eventCount = 0
            if isAll { return nil }
            // SAFETY: the kernel fills at most `batch` elements, and only those that it counts are read.
            eventCount = unsafe max(0, min(block_aio_events(context, Self.batch, events), Self.batch))
            if eventCount == 0 { return nil }
        }
        let event = unsafe events[nextEvent]
        nextEvent &+= 1
        return (event.data, Int32(clamping: event.res))
    }
}
