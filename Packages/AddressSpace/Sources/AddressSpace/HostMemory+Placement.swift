internal import CAddressSpace
internal import Glibc
public import LinuxSys
internal import Synchronization

/// Where the pages come from and when. Before anything else touches the memory.
extension HostMemory {
    /// Which of the host's NUMA nodes give the pages (linux/mempolicy.h).
    public enum Policy: Int32, Sendable {
        /// The node of the thread that touches a page first.
        case standard = 0
        /// The lowest of the nodes named, and others when it has no page left.
        case preferred = 1
        /// Only the nodes named.
        case bind = 2
        /// The nodes named in turn.
        case interleave = 3
    }

    /// Bytes of the pages of the file's mapping: see `pageSize`.
    public static func pageSize(of file: borrowing OwnedFD) -> UInt { UInt(as_mapping_page_size(file.raw)) }

    /// mbind(2). Nodes are numbers from 0 to 127; a policy of its own is needed to name some. EINVAL: the host has none of them. The kernel heeds the
    /// policy for memory, memfds, tmpfs and hugetlbfs, and not for shared files of other file systems (Documentation/admin-guide/mm/numa_memory_policy.rst).
    public func bind(_ policy: Policy, nodes: [Int]) throws(Errno) {
        var masks: (low: UInt64, high: UInt64) = (0, 0)
        for node in nodes {
            switch node {
            case 0..<64: masks.low |= 1 << UInt64(node)
            case 64..<128: masks.high |= 1 << UInt64(node - 64)
            default: throw .invalid
            }
        }
        _ = try check(as_bind(address, length, policy.rawValue, masks.low, masks.high))
    }

    /// Makes every page present and writable with the help of so many threads, which are gone afterwards; what the memory holds stays. Seconds for many GiB.
    /// EFAULT and ENOSPC: the file system has no page left; ENOMEM: the host has none.
    public func populate(threads: Int) throws(Errno) {
        // The first page tells whether the kernel knows the call.
        let first = as_populate(address, Int(pageSize))
        if first != -Int(EINVAL) { _ = try check(first) }
        try populate(threads: threads, byTouching: first < 0)
    }

    /// `byTouching`: as on a kernel that lacks the call.
    func populate(threads: Int, byTouching: Bool) throws(Errno) {
        // A write where the file system is full would end the process with SIGBUS.
        if byTouching, fileDescriptor >= 0, isShared {
            _ = try check(as_allocate(fileDescriptor, Int64(clamping: fileOffset), Int64(length)))
        }
        let page = Int(pageSize)
        let pages = length / page
        let share = (pages + max(threads, 1) - 1) / max(threads, 1) * page
        let outcome = Outcome()
        var helpers: [OSThread] = []
        for start in stride(from: 0, to: length, by: share) {
            let work: @Sendable () -> Void = { [self] in
                let (begin, count) = (address + UInt(start), min(share, length - start))
                if byTouching { return as_touch(begin, count, page) }
                outcome.note(as_populate(begin, count))
            }
            // The last share, and any that no thread takes, are the caller's own.
            if start + share < length, let helper = try? OSThread.start(name: "prealloc", work) { helpers.append(helper) } else { work() }
        }
        for helper in helpers { helper.join() }
        _ = try check(outcome.failure)
    }

    /// What became of all shares.
    private final class Outcome: Sendable {
        private let first = Atomic<Int>(0)

        var failure: Int { first.load(ordering: .relaxed) }

        func note(_ result: Int) {
            if result < 0 { _ = first.compareExchange(expected: 0, desired: result, ordering: .relaxed) }
        }
    }
}

/// The result of one of this package's calls, or what its negated number stands for.
private func check(_ result: Int) throws(Errno) -> Int {
    if result < 0 { throw Errno(Int32(truncatingIfNeeded: 0 &- result)) }
    return result
}
