internal import BlockBackend
internal import Glibc

/// What the device remembers of a request that the storage is working on.
@safe
struct RequestSlot {
    enum Phase: UInt8 {
        case free
        /// The storage is moving data, or flushing, or freeing.
        case working
        /// The data is written; the flush that makes the write stable is under way.
        case hardening
    }

    var phase: Phase
    /// The write must be stable before it is reported: the driver did not negotiate FLUSH (virtio 1.2, section 5.2.6.2).
    var isWriteThrough: Bool
    var kind: BlockOperation.Kind
    /// The queue that the request came from, and is given back to.
    var queue: UInt8
    var head: UInt16
    /// Host address of the request's status byte.
    var status: UInt
    /// Bytes on the disk.
    var offset: UInt64
    var length: UInt64
    /// When it was handed to the storage (`BlockStatistics.begin`).
    var start: UInt64
    /// A discard or write zeroes, which the host may turn out not to support.
    var isRange: Bool { kind == .discard || kind == .writeZeroes }
    /// Bytes of guest memory that are written when the request succeeds, without the status.
    var written: UInt32 { kind == .read ? UInt32(truncatingIfNeeded: length) : 0 }
    fileprivate var next: Int32
    fileprivate var large: UnsafeMutablePointer<iovec>?
    fileprivate var small: UnsafeMutablePointer<iovec>?
}

/// The requests in flight, and the iovecs that the kernel reads meanwhile. Memory is taken when it is first needed, kept, and bounded: with 256
/// slots at most 20 KiB of slots, 64 KiB of short vectors and 128 KiB of long ones, however the guest cuts its buffers.
@safe
struct RequestSlots: ~Copyable {
    static let shortVector = 16
    static let longVectors = 32

    // SAFETY: allocated for the value's life; slots below `used` are initialized, and indices are checked against it.
    private let slots: UnsafeMutablePointer<RequestSlot>
    private let longPool: UnsafeMutablePointer<UnsafeMutablePointer<iovec>>
    private let capacity: Int
    private let longVector: Int
    private var used = 0
    private var firstFree: Int32 = -1
    private var longAllocated = 0
    private var longFree = 0
    private(set) var inFlight = 0

    /// `vectorLimit`: the most elements one request may need. With a `capacity` of 0 nothing can be acquired, and next to no memory is taken.
    init(capacity: Int, vectorLimit: Int) {
        self.capacity = max(0, min(capacity, 1024))
        longVector = max(vectorLimit, Self.shortVector)
        unsafe slots = .allocate(capacity: self.capacity)
        unsafe longPool = .allocate(capacity: capacity > 0 ? Self.longVectors : 0)
    }

    deinit {
        for index in 0..<used {
            unsafe slots[index].small?.deallocate()
            unsafe slots[index].large?.deallocate()
        }
        for index in 0..<longFree { unsafe longPool[index].deallocate() }
        unsafe slots.deallocate()
        unsafe longPool.deallocate()
    }

    /// Bytes that have been taken so far.
    var footprint: Int {
        let element = unsafe MemoryLayout<iovec>.stride
        var bytes = used &* MemoryLayout<RequestSlot>.stride &+ longAllocated &* longVector &* element
        for index in 0..<used {
            if unsafe slots[index].small != nil { bytes &+= Self.shortVector &* element }
        }
        return bytes
    }

    /// A slot with room for `vectorCount` iovecs; nil when the device has to wait for a completion first: never when nothing is in flight
    /// and the capacity is not 0.
    mutating func acquire(vectorCount: Int) -> Int? {
        guard vectorCount <= longVector else { return nil }
        var large: UnsafeMutablePointer<iovec>?
        if vectorCount > Self.shortVector {
            guard let vector = unsafe takeLong() else { return nil }
            unsafe large = vector
        }
        let index: Int
        if firstFree >= 0 {
            index = Int(firstFree)
            firstFree = unsafe slots[index].next
        } else if used < capacity {
            index = used
            used &+= 1
            unsafe (slots + index).initialize(
                to: RequestSlot(
                    phase: .free, isWriteThrough: false, kind: .flush, queue: 0, head: 0, status: 0, offset: 0, length: 0, start: 0, next: -1, large: nil,
                    small: nil))
        } else {
            if let large = unsafe large { unsafe giveLong(large) }
            return nil
        }
        if vectorCount > 0, vectorCount <= Self.shortVector, unsafe slots[index].small == nil {
            unsafe slots[index].small = .allocate(capacity: Self.shortVector)
        }
        unsafe slots[index].large = large
        unsafe slots[index].phase = .working
        inFlight &+= 1
        return index
    }

    mutating func release(_ index: Int) {
        guard isBusy(index) else { return }
        if let large = unsafe slots[index].large { unsafe giveLong(large) }
        unsafe slots[index].large = nil
        unsafe slots[index].phase = .free
        unsafe slots[index].next = firstFree
        firstFree = Int32(truncatingIfNeeded: index)
        inFlight &-= 1
    }

    func isBusy(_ index: Int) -> Bool {
        guard index >= 0, index < used else { return false }
        return unsafe slots[index].phase != .free
    }

    /// Whether a request of `queue` is in flight.
    func hasRequest(of queue: Int) -> Bool {
        for index in 0..<used where isBusy(index) {
            if unsafe Int(slots[index].queue) == queue { return true }
        }
        return false
    }

    /// A copy; nil for a slot that is not in use.
    subscript(index: Int) -> RequestSlot? { isBusy(index) ? unsafe slots[index] : nil }

    mutating func update(_ index: Int, _ body: (inout RequestSlot) -> Void) {
        guard isBusy(index) else { return }
        unsafe body(&slots[index])
    }

    /// SAFETY: room for the `vectorCount` that the slot was acquired with, until it is released.
    @unsafe
    func vectors(_ index: Int) -> UnsafeMutablePointer<iovec>? {
        guard isBusy(index) else { return nil }
        return unsafe slots[index].large ?? slots[index].small
    }

    private mutating func takeLong() -> UnsafeMutablePointer<iovec>? {
        if longFree > 0 {
            longFree &-= 1
            return unsafe longPool[longFree]
        }
        guard longAllocated < Self.longVectors else { return nil }
        longAllocated &+= 1
        return .allocate(capacity: longVector)
    }

    private mutating func giveLong(_ vector: UnsafeMutablePointer<iovec>) {
        // Each long vector was counted when it was allocated, so the pool has room for all of them.
        unsafe (longPool + longFree).initialize(to: vector)
        longFree &+= 1
    }
}
