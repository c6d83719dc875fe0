internal import Glibc
public import LinuxSys

/// A raw disk image: a regular file or a block device whose bytes are the disk's bytes.
///
/// Threads: as `BlockStorage` says. The image owns its descriptors, its ring and its threads; when the last reference goes it waits for what
/// is in flight, because the kernel and the threads still use the caller's memory, and then ends them. That may be as slow as the disk.
/// The owner thread drains before it ends: io_uring cancels what an ending thread has submitted.
///
/// One image is one `RawImage`: two on one file (both read-only, or the lock would refuse) know nothing of each other.
///
/// System calls made after `open`: io_uring_enter (io_uring); io_submit (native); preadv, pwritev, pread, pwrite, fdatasync, fallocate, ioctl BLKDISCARD, futex, clone
/// (threads); read and write on the eventfd; timerfd_settime (throttle); poll in `drain`.
public final class RawImage: BlockStorage, @unchecked Sendable {
    public let sectorCount: UInt64
    public let isReadOnly: Bool
    public let supportsDiscard: Bool
    public let supportsWriteZeroes: Bool
    /// A block device's own logical block size. 512 for a regular file, whatever lies below it: the partition table inside counts in
    /// sectors that must not change when the file is moved; unaligned direct I/O is bounced.
    public let logicalBlockSize: UInt32
    public let inFlightLimit: Int
    public var completionFD: Int32 { completion.raw }
    public var hasCompletions: Bool { ready.count > 0 || queue?.hasCompletions ?? false || pool.hasFinished }
    public var mergedReads: UInt64 { groups.mergedReads }
    public var mergedWrites: UInt64 { groups.mergedWrites }

    /// The engine that serves the image: never `.auto`.
    public let engine: RawImageOptions.Engine
    /// Why `.auto` became `.threads`.
    public let fallbackReason: Errno?

    let image: ImageFile
    let transfers: TransferTable
    let completion: EventFD
    let queue: KernelQueue?
    let pool: WorkerPool
    let groups: MergeGroups
    let mergeLimit: Int
    let zeroDetection: RawImageOptions.ZeroDetection
    let ignoresFlushes: Bool

    // SAFETY of @unchecked Sendable: everything above is immutable and Sendable; what follows is used by the owner thread only.
    /// Indices of transfers that are not in use.
    var free: IndexQueue
    /// Transfers that were finished without being started, and their results.
    var ready: IndexQueue
    var readyResults: [Int32]
    /// Tokens of operations beyond `inFlightLimit`. Empty unless the caller breaks its promise.
    var rejected: [UInt64] = []
    /// Direct images only.
    var claims: WriteClaims?
    /// What was submitted last and may grow.
    var pending = OpenBatch()
    /// Nil until a limit is set.
    var throttle: Throttle?
    var queueHasWork = false
    var poolHasWork = false
    /// The image itself has work to start: the rest of a transfer, or a write whose turn has come.
    var mustKick = false
    var isQueueBroken = false

    /// Opens an image. Any thread; blocks for as long as the file system takes.
    public static func open(_ options: RawImageOptions) throws(BlockError) -> RawImage {
        try RawImage(options, alignment: nil)
    }

    typealias RingOpener = (_ entries: UInt32, _ file: borrowing OwnedFD, _ completion: Int32) throws(Errno) -> Ring
    typealias NativeOpener = (_ entries: UInt32, _ file: borrowing OwnedFD, _ completion: Int32) throws(Errno) -> NativeQueue

    /// `openRing` and `openNative` stand for the kernel, and `alignment` for the disk, in tests.
    init(
        _ options: RawImageOptions, openRing: RingOpener = Ring.open, openNative: NativeOpener = NativeQueue.open, alignment: DirectAlignment? = nil
    ) throws(BlockError) {
        if options.engine == .native, !options.direct { throw .nativeNeedsDirect(path: options.path) }
        let image = try ImageFile(options, alignment: alignment)
        let capacity = min(max(options.inFlightLimit, 1), 1024)
        // The groups are transfers too.
        let transfers = TransferTable(capacity: capacity + MergeGroups.count)
        let completion: EventFD
        do { completion = try EventFD() } catch { throw .outOfResources(path: options.path, error) }

        var queue: KernelQueue?
        var reason: Errno?
        switch options.engine {
        case .auto, .ioUring:
            do { queue = .ring(try openRing(UInt32(capacity), image.file, completion.raw)) } catch {
                guard options.engine == .auto else { throw .engineUnavailable(path: options.path, error) }
                reason = error
            }
        case .native:
            do { queue = .native(try openNative(UInt32(capacity), image.file, completion.raw)) } catch {
                throw .nativeUnavailable(path: options.path, error)
            }
        case .threads, .off: break
        }
        self.image = image
        self.completion = completion
        self.queue = queue
        self.transfers = transfers
        let threads = options.engine == .off ? 1 : min(max(options.threadLimit, 1), queue == nil ? 16 : WorkerPool.lasting)
        pool = WorkerPool(image, transfers, completion, name: "blk-worker", limit: threads)
        engine = if case .auto = options.engine { queue == nil ? .threads : .ioUring } else { options.engine }
        fallbackReason = reason
        groups = MergeGroups(transferCount: capacity)
        mergeLimit = options.mergeLimit
        zeroDetection = options.zeroDetection
        ignoresFlushes = options.ignoresFlushes
        sectorCount = image.size / 512
        isReadOnly = image.isReadOnly
        supportsDiscard = image.mayDiscard
        supportsWriteZeroes = !image.isReadOnly
        logicalBlockSize = image.sectorSize
        inFlightLimit = capacity
        free = IndexQueue(capacity: capacity)
        for index in 0..<capacity { free.push(index) }
        ready = IndexQueue(capacity: capacity)
        readyResults = Array(repeating: 0, count: capacity)
        claims = image.alignment == nil ? nil : WriteClaims(capacity: transfers.capacity)
        do { try setThrottle(options.throttle) } catch { throw .outOfResources(path: options.path, error) }
    }

    deinit {
        drain { _, _ in }
        pool.stop()
    }

    public func submit(_ operation: BlockOperation) {
        guard let index = free.pop() else {
            rejected.append(operation.token)
            return
        }
        transfers[index] = Transfer(operation)
        if let result = outcomeWithoutWork(operation) {
            readyResults[index] = result
            ready.push(index)
        } else if throttle?.admit(index, operation) ?? true {
            begin(index)
        }
    }

    public func kick() {
        mustKick = false
        closeBatch()
        throttle?.arm()
        if poolHasWork {
            poolHasWork = false
            pool.kick()
        }
        if queueHasWork { submitQueue() }
        if ready.count > 0 || !rejected.isEmpty { completion.signal() }
    }

    public func reap(_ body: (_ token: UInt64, _ result: Int32) -> Void) {
        completion.drain()
        if throttle?.isDue() ?? false {
            startDue()
            mustKick = true
        }
        while let (userData, result) = queue?.next() {
            let index = Int(truncatingIfNeeded: userData)
            if index >= 0, index < transfers.capacity { queueCompleted(index, result, body) }
        }
        while let (index, result) = pool.next() { deliver(index, result, body) }
        // Only those that are there now: what `body` adds is for the next round, or a guest could hold the loop here.
        for _ in 0..<ready.count {
            if let index = ready.pop() { deliver(index, readyResults[index], body) }
        }
        if !rejected.isEmpty {
            let tokens = rejected
            rejected = []
            for token in tokens { body(token, -EBUSY) }
        }
        if mustKick { kick() }
    }

    public func drain(_ body: (_ token: UInt64, _ result: Int32) -> Void) {
        while true {
            startAllWaiting()
            kick()
            reap(body)
            if free.count == inFlightLimit, rejected.isEmpty { return }
            var descriptor = pollfd(fd: completion.raw, events: Int16(POLLIN), revents: 0)
            // SAFETY: one descriptor, alive during the call. An interrupted or failed wait only means another round.
            _ = unsafe poll(&descriptor, 1, 100)
        }
    }

    /// Gives the lock on the file up, so that another process may open it: the destination of a migration.
    public func releaseLock() throws(Errno) { try image.setLocked(false) }

    /// Takes the lock again. Throws EAGAIN when somebody else has it.
    public func acquireLock() throws(Errno) { try image.setLocked(true) }
}
