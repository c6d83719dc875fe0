public import Glibc
public import LinuxSys

/// A virtual disk's back end: a flat array of bytes with asynchronous operations.
///
/// One thread at a time owns a storage: `submit`, `kick`, `reap` and `drain` are called on that thread, or are ordered with
/// it by the caller (a device that is paused before another thread drains it). The properties may be read on any thread.
public protocol BlockStorage: AnyObject, Sendable {
    /// Capacity in sectors of 512 bytes (virtio 1.2, section 5.2.4: `capacity` counts 512-byte sectors whatever `blk_size` says).
    var sectorCount: UInt64 { get }
    /// True when no operation can change the disk; the host file is then open for reading only.
    var isReadOnly: Bool { get }
    /// True when `.discard` frees space on the host; false makes `.discard` fail with `-EOPNOTSUPP`.
    var supportsDiscard: Bool { get }
    /// True when `.writeZeroes` is served.
    var supportsWriteZeroes: Bool { get }
    /// The disk's own block size in bytes, to which discards should be aligned: a power of two, at least 512. Requests count sectors of 512 bytes anyway.
    var logicalBlockSize: UInt32 { get }
    /// How many operations may be submitted and not yet delivered by `reap` or `drain`.
    var inFlightLimit: Int { get }
    /// An eventfd that becomes readable when `reap` has something to deliver. Owned by the storage, level-triggered, stays
    /// the same for the storage's life; only `reap` and `drain` read it.
    var completionFD: Int32 { get }
    /// Whether `reap` has something to deliver, as far as that can be seen without a system call. Asked very often; may be false though there is something,
    /// of which `completionFD` tells.
    var hasCompletions: Bool { get }
    /// A second one, of a storage that holds itself to limits: readable when operations that waited may start. It appears with the first limit.
    var throttleFD: Int32? { get }

    /// Operations that were done as a part of another; they wrap.
    var mergedReads: UInt64 { get }
    var mergedWrites: UInt64 { get }

    /// Takes one operation. Never blocks and never delivers its completion inside the call. Nothing may start before `kick`.
    ///
    /// An operation beyond the end of the disk, or one that writes to a read-only disk, completes with an error like any other.
    func submit(_ operation: BlockOperation)

    /// Starts everything that was submitted since the last call: one system call for the batch with io_uring.
    func kick()

    /// Delivers what has completed, without waiting. `result` is the count of bytes moved for `.read` and `.write` (always
    /// the whole length: partial transfers are continued inside), 0 for the other kinds, or a negative errno.
    ///
    /// `body` may call `submit` and `kick`; it must not call `reap` or `drain`.
    func reap(_ body: (_ token: UInt64, _ result: Int32) -> Void)

    /// Of what has not been started because of a limit, ends those with -ECANCELED whose tokens `isCancelled` names; the next `reap` delivers them. Never waits.
    func cancelWaiting(_ isCancelled: (_ token: UInt64) -> Bool)

    /// Changes the limits. The caller looks at `throttleFD` afterwards.
    func setThrottle(_ limits: ThrottleLimits) throws(Errno)

    /// Starts what was submitted, limits or not, waits until nothing is in flight and delivers all completions. What `body` submits meanwhile is
    /// also waited for. Afterwards no memory named by an earlier operation is touched again.
    func drain(_ body: (_ token: UInt64, _ result: Int32) -> Void)
}

/// A storage without limits of its own.
extension BlockStorage {
    public var throttleFD: Int32? { nil }
    public var hasCompletions: Bool { false }
    public func cancelWaiting(_ isCancelled: (UInt64) -> Bool) {}
    public var mergedReads: UInt64 { 0 }
    public var mergedWrites: UInt64 { 0 }
    public func setThrottle(_ limits: ThrottleLimits) throws(Errno) { throw .notSupported }
}

/// One operation on a `BlockStorage`.
@safe public struct BlockOperation: @unchecked Sendable {
    public enum Kind: UInt8, Sendable {
        /// Reads into the iovecs.
        case read
        /// Writes from the iovecs.
        case write
        /// Makes every write that completed before this was submitted survive a power failure (virtio 1.2, section 5.2.6.2).
        case flush
        /// Tells the host that the range's content is no longer needed.
        case discard
        /// Makes the range read as zeros.
        case writeZeroes
    }

    public var kind: Kind
    /// `.writeZeroes` only: the host may free the range's space (`VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP`).
    public var mayUnmap: Bool
    /// Count of elements in `iovecs`; 0 unless the kind is `.read` or `.write`. At most 1024 (IOV_MAX).
    public var iovecCount: Int32
    /// First byte on the disk. Need not be aligned, whatever the storage's block size.
    public var offset: UInt64
    /// Bytes. For `.read` and `.write` the sum of the iovecs' lengths, at most `BlockOperation.maximumTransfer`; 0 for `.flush`.
    public var length: UInt64
    /// Comes back with the completion; means nothing to the storage.
    public var token: UInt64
    /// The memory to read into or write from. The array belongs to the caller and stays in place, as does the memory it names,
    /// until the completion is delivered. The storage may change elements meanwhile and restores them before it delivers.
    public var iovecs: UnsafeMutablePointer<iovec>?

    /// The most bytes one read or write may move: what Linux moves in one call (MAX_RW_COUNT), and what a result can hold.
    public static var maximumTransfer: UInt64 { 0x7fff_f000 }

    /// A read or a write.
    @unsafe public init(
        _ kind: Kind, offset: UInt64, length: UInt64, iovecs: UnsafeMutablePointer<iovec>, count: Int32, token: UInt64
    ) {
        self.kind = kind
        self.mayUnmap = false
        self.iovecCount = count
        self.offset = offset
        self.length = length
        self.token = token
        // SAFETY: only stored here; the caller of this unsafe initializer promises the array's and the memory's lifetime.
        unsafe self.iovecs = iovecs
    }

    /// An operation without data: flush, discard or write zeroes.
    public init(_ kind: Kind, offset: UInt64 = 0, length: UInt64 = 0, mayUnmap: Bool = false, token: UInt64) {
        self.kind = kind
        self.mayUnmap = mayUnmap
        self.iovecCount = 0
        self.offset = offset
        self.length = length
        self.token = token
        unsafe self.iovecs = nil
    }
}
