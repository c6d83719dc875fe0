internal import CLiburing
internal import Glibc
internal import LinuxSys

/// An io_uring that can do nothing but read, write and flush one file.
///
/// Why liburing and not swift-system's `IORing` (looked at 1.8.1): a virtio request is a list of buffers and a flush is an fdatasync, and `IORing` has
/// neither readv/writev nor fsync nor restrictions; its requests are enums of resources, and it brings FilePath and FileDescriptor along.
/// liburing adds about 10 KiB of code, allocates nothing after set-up, and Debian ships it as a static archive that links into a static-pie.
/// The ring's memory (128 entries: 8 KiB of SQEs and 5 KiB of indices and CQEs) is all it costs.
///
/// The ring is registered with the image as its only file and with restrictions (IORING_REGISTER_RESTRICTIONS, Linux 5.10): the kernel
/// then refuses any other operation or descriptor on it, so that code that was taken over cannot use the ring to get round seccomp.
///
/// Not IORING_SETUP_SINGLE_ISSUER or DEFER_TASKRUN: `drain` may be called by another thread than the one that submits, which those
/// forbid. COOP_TASKRUN saves the interrupt of a running owner where the kernel has it (5.19); the owner is in epoll_wait soon enough, or looks whether
/// there is something (TASKRUN_FLAG), which `next` then has the kernel finish.
@safe final class Ring: @unchecked Sendable {
    // SAFETY: allocated and set up in `open`, freed in deinit; only the image's owner thread calls into it.
    private let ring: UnsafeMutablePointer<io_uring>

    private init(_ ring: UnsafeMutablePointer<io_uring>) { unsafe self.ring = ring }

    /// Sets up a ring whose completions signal the eventfd `completion`. Throws ENOSYS or EPERM where io_uring is compiled out or switched off
    /// (Documentation/admin-guide/sysctl/kernel.rst, io_uring_disabled), EOPNOTSUPP on a kernel before 5.10, or ENOMEM.
    static func open(entries: UInt32, file: borrowing OwnedFD, completion: Int32) throws(Errno) -> Ring {
        let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
        unsafe ring.initialize(to: io_uring())
        let cooperative = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL
        var result = unsafe io_uring_queue_init(entries, ring, IORING_SETUP_R_DISABLED | cooperative)
        if result == -EINVAL { result = unsafe io_uring_queue_init(entries, ring, IORING_SETUP_R_DISABLED) }
        guard result >= 0 else {
            unsafe ring.deallocate()
            throw result == -EINVAL ? .notSupported : Errno(0 &- result)
        }
        let opened = unsafe Ring(ring)
        try opened.register(file.raw, completion)
        return opened
    }

    deinit {
        unsafe io_uring_queue_exit(ring)
        unsafe ring.deallocate()
    }

    private func register(_ file: Int32, _ completion: Int32) throws(Errno) {
        var file = file
        // SAFETY: each call reads what it is given before it returns.
        try check(unsafe io_uring_register_files(ring, &file, 1))
        try check(unsafe io_uring_register_eventfd(ring, completion))
        // Kernel threads for what cannot be done without waiting (flushes, writes to full caches); Linux before 5.15 has no such limit.
        unsafe withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 2) { limits in
            unsafe limits.initialize(repeating: 4)
            _ = unsafe io_uring_register_iowq_max_workers(ring, limits.baseAddress)
        }
        let operations = [IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC]
        var rules = operations.map { operation in
            var rule = io_uring_restriction()
            rule.opcode = block_ring_rule_operation
            rule.sqe_op = UInt8(truncatingIfNeeded: operation.rawValue)
            return rule
        }
        var mustBeFixed = io_uring_restriction()
        mustBeFixed.opcode = block_ring_rule_flags_required
        mustBeFixed.sqe_flags = block_ring_fixed_file
        rules.append(mustBeFixed)
        // By opcode: liburing 2.3's shared library does not export the functions that its header declares for these two.
        let descriptor = unsafe UInt32(bitPattern: ring.pointee.ring_fd)
        try check(unsafe io_uring_register(descriptor, block_ring_register_restrictions, &rules, UInt32(rules.count)))
        try check(io_uring_register(descriptor, block_ring_register_enable, nil, 0))
    }

    private func check(_ result: Int32) throws(Errno) {
        if result == -EINVAL { throw .notSupported }
        if result < 0 { throw Errno(0 &- result) }
    }

    /// Puts the rest of a transfer, or a flush, into the submission queue; false when the queue is full.
    func prepare(_ transfer: borrowing Transfer, userData: UInt64) -> Bool {
        guard let entry = unsafe io_uring_get_sqe(ring) else { return false }
        let isRead = transfer.operation.kind == .read
        // SAFETY: the kernel uses the iovecs and their memory until the completion, which is BlockOperation's promise.
        if transfer.operation.kind == .flush {
            unsafe io_uring_prep_fsync(entry, 0, UInt32(IORING_FSYNC_DATASYNC))
        } else if transfer.vectorCount == 1, let vector = unsafe transfer.vectors?.pointee {
            let length = unsafe UInt32(clamping: vector.iov_len)
            // One buffer needs no iovec: the kernel then copies no array.
            if isRead { unsafe io_uring_prep_read(entry, 0, vector.iov_base, length, transfer.position) }
            else { unsafe io_uring_prep_write(entry, 0, vector.iov_base, length, transfer.position) }
        } else {
            let count = UInt32(clamping: transfer.vectorCount)
            if isRead { unsafe io_uring_prep_readv(entry, 0, transfer.vectors, count, transfer.position) }
            else { unsafe io_uring_prep_writev(entry, 0, transfer.vectors, count, transfer.position) }
        }
        unsafe entry.pointee.flags = block_ring_fixed_file
        unsafe entry.pointee.user_data = userData
        return true
    }

    /// Hands everything that was prepared to the kernel.
    func submit() -> KernelQueue.SubmitResult {
        while unsafe io_uring_sq_ready(ring) > 0 {
            let result = unsafe io_uring_submit(ring)
            switch -result {
            case EINTR: continue
            case EAGAIN, EBUSY, ENOMEM: return .tryLater
            case 0: return .tryLater
            case ...0: continue
            default: return .broken
            }
        }
        return .submitted
    }

    /// The user data of what was prepared and not submitted. For a broken ring, to which `submit` is not called again.
    func forEachUnsubmitted(_ body: (UInt64) -> Void) {
        // SAFETY: liburing keeps entries [head, tail) of its own SQE array, whose size is the ring mask plus one, until they are submitted.
        let count = unsafe io_uring_sq_ready(ring)
        let mask = unsafe ring.pointee.sq.kring_mask.pointee
        let head = unsafe ring.pointee.sq.sqe_tail &- count
        for step in 0..<count {
            body(unsafe ring.pointee.sq.sqes[Int((head &+ step) & mask)].user_data)
        }
    }

    var hasCompletions: Bool { unsafe block_ring_has_completions(ring) != 0 }

    /// The next completion, if one is there.
    func next() -> (userData: UInt64, result: Int32)? {
        var entry: UnsafeMutablePointer<io_uring_cqe>?
        guard unsafe io_uring_peek_cqe(ring, &entry) == 0, let entry = unsafe entry else { return nil }
        let completion = unsafe (entry.pointee.user_data, entry.pointee.res)
        unsafe io_uring_cqe_seen(ring, entry)
        return completion
    }
}
