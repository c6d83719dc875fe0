internal import AddressSpace
internal import Glibc
internal import Synchronization

/// A buffer as one chain describes it, in host addresses: first the part that the device reads, then the part that it writes
/// (virtio 1.2, section 2.7.4.2). Made once and filled again by each `SplitQueue.pop`: nothing is allocated per request, only when a chain is longer
/// than all before it.
@safe
public final class DescriptorChain {
    struct Segment {
        var address: UInt
        /// Bytes, never 0.
        var count: Int
    }

    /// Which of the two parts.
    public enum Part: Sendable { case readable, writable }

    /// Most chains are this short, and most queues of most machines are never used.
    private static let usualLength = 8

    // SAFETY: has room for `capacity` segments until the object ends or it grows; indices are below `count`, which never exceeds that.
    private var segments: UnsafeMutablePointer<Segment>
    private var capacity: Int
    private let maximumLength: Int
    private var count = 0
    /// Segments of the readable part, all before the others.
    private var readableCount = 0
    private var isWriting = false
    // Behind what is public: at each access to a public variable of a class it is checked that nobody else is at it, which was a sixth of a chain's time.
    private var ownHead: UInt16 = 0
    private var ownReadableBytes: UInt64 = 0
    private var ownWritableBytes: UInt64 = 0

    /// The descriptor by which the chain is given back.
    public var head: UInt16 { ownHead }
    /// Bytes; the two together are below 2^32.
    public var readableBytes: UInt64 { ownReadableBytes }
    public var writableBytes: UInt64 { ownWritableBytes }

    /// For queues whose `maximumChainLength` is at most `maximumLength`.
    public init(maximumLength: Int) {
        self.maximumLength = max(maximumLength, 1)
        capacity = min(self.maximumLength, Self.usualLength)
        unsafe segments = .allocate(capacity: capacity)
    }

    deinit { unsafe segments.deallocate() }

    // MARK: Filling

    func begin(head: UInt16) {
        ownHead = head
        count = 0
        readableCount = 0
        ownReadableBytes = 0
        ownWritableBytes = 0
        isWriting = false
    }

    /// The next buffer is for reading or writing.
    func turn(writable: Bool) throws(QueueFault) {
        if isWriting, !writable { throw .readableAfterWritable }
        isWriting = writable
    }

    func append(_ range: HostRange) throws(QueueFault) {
        if count == capacity { try grow() }
        // Overlapping descriptors may add up to far more than there is memory (the class of Firecracker PR 5762).
        guard readableBytes &+ writableBytes &+ UInt64(range.count) < 1 << 32 else { throw .chainTooLarge }
        unsafe (segments + count).initialize(to: Segment(address: range.address, count: range.count))
        count &+= 1
        if isWriting {
            ownWritableBytes &+= UInt64(range.count)
        } else {
            readableCount = count
            ownReadableBytes &+= UInt64(range.count)
        }
    }

    private func grow() throws(QueueFault) {
        guard capacity < maximumLength else { throw .chainTooLong }
        let larger = min(maximumLength, 4 &* capacity)
        let room = UnsafeMutablePointer<Segment>.allocate(capacity: larger)
        // SAFETY: room for more than the `count` segments that are moved, which all are initialized.
        unsafe room.moveInitialize(from: segments, count: count)
        unsafe segments.deallocate()
        unsafe segments = room
        capacity = larger
    }

    // MARK: Using

    private func indices(_ part: Part) -> Range<Int> { part == .readable ? 0..<readableCount : readableCount..<count }

    /// Host address of byte `offset` of a part.
    private func address(_ part: Part, _ offset: UInt64) -> UInt? {
        var left = offset
        for index in indices(part) {
            // SAFETY: indices are below count.
            let segment = unsafe segments[index]
            if left < UInt64(segment.count) { return segment.address &+ UInt(left) }
            left &-= UInt64(segment.count)
        }
        return nil
    }

    /// A little-endian integer of the readable part, wherever descriptors cut it; nil when the part ends before it. Each byte is read once.
    public func readInteger<T: FixedWidthInteger & UnsignedInteger>(_: T.Type, at offset: UInt64) -> T? {
        var value: T = 0
        for byte in 0..<MemoryLayout<T>.size {
            guard let address = address(.readable, offset &+ UInt64(byte)) else { return nil }
            value |= T(truncatingIfNeeded: GuestByte.load(address)) << T(truncatingIfNeeded: 8 &* byte)
        }
        return value
    }

    /// Writes `bytes` at the start of the writable part; false, and nothing written, when it is shorter.
    public func writePrefix(_ bytes: [UInt8]) -> Bool {
        guard UInt64(bytes.count) <= writableBytes else { return false }
        for (offset, byte) in bytes.enumerated() {
            guard let address = address(.writable, UInt64(offset)) else { return false }
            GuestByte.store(byte, address)
        }
        return true
    }

    /// Host address of the last writable byte.
    var lastWritableByte: UInt? { writableBytes == 0 ? nil : address(.writable, writableBytes &- 1) }

    /// Segments that `length` bytes of a part from `skip` on touch.
    func segmentCount(_ part: Part, skip: UInt64, length: UInt64) -> Int {
        var touched = 0
        forEach(part, skip: skip, length: length) { _, _ in touched &+= 1 }
        return touched
    }

    /// Bytes of the first `limit` segments of a part.
    func length(_ part: Part, segments limit: Int) -> UInt64 {
        var bytes: UInt64 = 0
        // SAFETY: indices are below count.
        for index in indices(part).prefix(limit) { bytes &+= UInt64(unsafe segments[index].count) }
        return bytes
    }

    /// Describes the same bytes to the kernel.
    /// SAFETY: the caller gives room for `segmentCount` elements.
    @unsafe
    func fill(_ vectors: UnsafeMutablePointer<iovec>, _ part: Part, skip: UInt64, length: UInt64) {
        var index = 0
        forEach(part, skip: skip, length: length) { address, count in
            unsafe (vectors + index).initialize(to: iovec(iov_base: UnsafeMutableRawPointer(bitPattern: address), iov_len: count))
            index &+= 1
        }
    }

    /// Calls `body` with host address and bytes of each piece.
    @inline(__always)
    func forEach(_ part: Part, skip: UInt64, length: UInt64, _ body: (UInt, Int) -> Void) {
        var skip = skip
        var length = length
        for index in indices(part) {
            guard length > 0 else { return }
            // SAFETY: indices are below count.
            let segment = unsafe segments[index]
            let available = UInt64(segment.count)
            guard skip < available else {
                skip &-= available
                continue
            }
            let count = min(available &- skip, length)
            body(segment.address &+ UInt(skip), Int(count))
            length &-= count
            skip = 0
        }
    }
}

/// Single bytes of guest RAM by host address.
enum GuestByte {
    // SAFETY (both): the address came from GuestMemory.hostRange, and the device keeps the guest's memory while it uses it.
    @inline(__always)
    static func load(_ address: UInt) -> UInt8 {
        guard let pointer = unsafe UnsafeMutablePointer<Atomic<UInt8>>(bitPattern: address) else { return 0 }
        return unsafe pointer.pointee.load(ordering: .relaxed)
    }

    @inline(__always)
    static func store(_ value: UInt8, _ address: UInt) {
        guard let pointer = unsafe UnsafeMutablePointer<Atomic<UInt8>>(bitPattern: address) else { return }
        unsafe pointer.pointee.store(value, ordering: .relaxed)
    }
}
