internal import CTap
internal import Glibc

/// Buffers that were taken from a receive queue and wait for packets: what one readv(2) fills. A packet uses up whole buffers from the front; what is behind
/// waits for the next one, so that each descriptor is walked once however small the packets are.
///
/// All of it is allocated once for a session, below 64 KiB of guest-dependent state; the spill is touched only as far as packets reach into it.
@safe
final class ReceiveWindow {
    private struct Buffer {
        let head: UInt16
        let vectors: UInt16
        let bytes: UInt32
    }

    /// One of the kernel's limit is for the spill.
    static let vectorLimit = Int(CTAP_VECTOR_LIMIT) - 1
    static let spillSize = NetHeader.maximumPacket + 1

    // SAFETY: allocated for the object's life. Vectors in firstVector..<firstVector + vectorCount are initialized and describe guest RAM that DescriptorChain has
    // checked; the receiver keeps that memory as long as the window. firstVector + vectorCount < vectorCapacity, so that the spill's fits behind.
    private let vectors: UnsafeMutablePointer<iovec>
    private let vectorCapacity = Int(CTAP_VECTOR_LIMIT)
    private let buffers: UnsafeMutablePointer<Buffer>
    private let bufferCapacity: Int
    private let spill: UnsafeMutableRawPointer
    private var firstVector = 0
    private var vectorCount = 0
    /// Bytes that the next packet may have, by what came lately.
    private var expected = 2048
    private var firstBuffer = 0
    private(set) var bufferCount = 0
    /// Bytes of all buffers.
    private(set) var bytes = 0

    /// `queueSize`: heads that the driver can have outstanding.
    init(queueSize: Int) {
        bufferCapacity = min(max(queueSize, 1), Self.vectorLimit)
        unsafe vectors = .allocate(capacity: vectorCapacity)
        unsafe buffers = .allocate(capacity: bufferCapacity)
        unsafe spill = .allocate(byteCount: Self.spillSize, alignment: 16)
    }

    deinit {
        unsafe vectors.deallocate()
        unsafe buffers.deallocate()
        unsafe spill.deallocate()
    }

    var isEmpty: Bool { bufferCount == 0 }
    var isFull: Bool { vectorCount >= Self.vectorLimit || bufferCount >= bufferCapacity }

    // MARK: Filling

    /// Takes the writable part of a chain; false when there is no room for it. Of a chain with more pieces than readv(2) takes only the first ones are used,
    /// when it comes first.
    func append(_ chain: DescriptorChain) -> Bool {
        let wanted = chain.segmentCount(.writable, skip: 0, length: chain.writableBytes)
        guard wanted > 0, bufferCount < bufferCapacity else { return false }
        if wanted > Self.vectorLimit { return appendStart(of: chain) }
        guard vectorCount &+ wanted <= Self.vectorLimit else { return false }
        makeRoom(wanted)
        // SAFETY: makeRoom has left room for `wanted` vectors and the spill's.
        unsafe chain.fill(vectors + (firstVector &+ vectorCount), .writable, skip: 0, length: chain.writableBytes)
        add(chain.head, vectors: wanted, bytes: UInt32(truncatingIfNeeded: chain.writableBytes))
        return true
    }

    @inline(never)
    private func appendStart(of chain: DescriptorChain) -> Bool {
        guard bufferCount == 0 else { return false }
        makeRoom(Self.vectorLimit)
        let length = chain.length(.writable, segments: Self.vectorLimit)
        // SAFETY: as in append.
        unsafe chain.fill(vectors + (firstVector &+ vectorCount), .writable, skip: 0, length: length)
        add(chain.head, vectors: Self.vectorLimit, bytes: UInt32(truncatingIfNeeded: length))
        return true
    }

    private func add(_ head: UInt16, vectors: Int, bytes: UInt32) {
        if firstBuffer &+ bufferCount == bufferCapacity {
            // SAFETY: both ranges are inside; bufferCount < bufferCapacity was checked.
            unsafe buffers.update(from: buffers + firstBuffer, count: bufferCount)
            firstBuffer = 0
        }
        unsafe (buffers + (firstBuffer &+ bufferCount)).initialize(to: Buffer(head: head, vectors: UInt16(truncatingIfNeeded: vectors), bytes: bytes))
        bufferCount &+= 1
        vectorCount &+= vectors
        self.bytes &+= Int(bytes)
    }

    private func makeRoom(_ wanted: Int) {
        guard firstVector &+ vectorCount &+ wanted >= vectorCapacity else { return }
        // SAFETY: both ranges are inside.
        unsafe vectors.update(from: vectors + firstVector, count: vectorCount)
        firstVector = 0
    }

    // MARK: A packet

    /// Reads one packet into the first buffers, and what does not fit into the spill; its size, or -errno, and how many bytes may be in buffers. More than
    /// `NetHeader.maximumPacket` bytes: it may have been cut off.
    ///
    /// The kernel gets as many buffers as a packet took lately: it checks each of them, and where TSO is possible there are dozens for every small packet.
    func read(from tap: TapQueue) -> (size: Int, start: Int) {
        let first = unsafe vectors + firstVector
        var start = 0
        var count = 0
        while count < vectorCount, start < expected {
            start &+= unsafe first[count].iov_len
            count &+= 1
        }
        // SAFETY: see `vectors`; the one that stands where the spill's goes is put back.
        let kept = unsafe count < vectorCount ? first[count] : iovec()
        unsafe (first + count).initialize(to: iovec(iov_base: spill, iov_len: Self.spillSize))
        let size = unsafe tap.read(first, count &+ 1)
        if count < vectorCount { unsafe first[count] = kept }
        if size > 0 { expected = max(size, expected &- expected >> 5) }
        return (size, start)
    }

    /// Copies to the buffers what has gone into the spill, which is all from byte `start` on. The packet has `size` bytes and fits.
    func unspill(from start: Int, size: Int) {
        guard size > start, size <= bytes, size &- start <= Self.spillSize else { return }
        var done = 0
        unsafe forEachPiece(at: start, count: size &- start) { target, count in
            // SAFETY: pieces are parts of the buffers, and add up to at most the spill's size.
            unsafe target.copyMemory(from: spill + done, byteCount: count)
            done &+= count
        }
    }

    /// The start of the frame of a packet of `size` bytes, of which `start` may be in buffers. Fetched once: the driver may be writing there.
    func frameHead(size: Int, start: Int) -> FrameHead {
        var words: (UInt64, UInt64) = (0, 0)
        let wanted = min(FrameHead.size, max(0, size &- NetHeader.size))
        let inBuffers = min(wanted, max(0, start &- NetHeader.size))
        unsafe withUnsafeMutableBytes(of: &words) { target in
            guard let base = target.baseAddress else { return }
            var done = 0
            unsafe forEachPiece(at: NetHeader.size, count: inBuffers) { source, count in
                // SAFETY: pieces add up to at most FrameHead.size bytes, the size of `words`.
                unsafe (base + done).copyMemory(from: source, byteCount: count)
                done &+= count
            }
            // SAFETY: the packet has `size` bytes, of which all from `start` on are in the spill.
            if done < wanted { unsafe (base + done).copyMemory(from: spill + max(0, NetHeader.size &+ done &- start), byteCount: wanted &- done) }
        }
        return FrameHead(low: UInt64(littleEndian: words.0), high: UInt64(littleEndian: words.1))
    }

    /// Buffers that `size` bytes take up; nil when they do not fit.
    func buffersNeeded(for size: Int) -> Int? {
        guard size <= bytes else { return nil }
        var left = size
        var count = 0
        while left > 0, count < bufferCount {
            left &-= Int(unsafe buffers[firstBuffer &+ count].bytes)
            count &+= 1
        }
        return count
    }

    /// Copies a frame of `length` bytes, and a header that says it fills `count` buffers, into the first buffers.
    /// SAFETY: the caller gives `length` bytes at `frame`.
    @unsafe
    func copy(_ frame: UnsafeRawPointer, length: Int, buffers count: Int) {
        var header: (UInt64, UInt32) = (0, UInt32(truncatingIfNeeded: count).littleEndian << 16)
        unsafe withUnsafeBytes(of: &header) { source in
            if let base = source.baseAddress { unsafe copy(base, count: NetHeader.size, at: 0) }
        }
        unsafe copy(frame, count: length, at: NetHeader.size)
    }

    private func copy(_ source: UnsafeRawPointer, count: Int, at offset: Int) {
        var done = 0
        unsafe forEachPiece(at: offset, count: count) { target, piece in
            // SAFETY: pieces are parts of the buffers, and add up to at most `count`.
            unsafe target.copyMemory(from: source + done, byteCount: piece)
            done &+= piece
        }
    }

    /// Writes a byte of the header into the first buffers.
    func store(_ value: UInt8, at offset: Int) {
        unsafe forEachPiece(at: offset, count: 1) { target, _ in GuestByte.store(value, UInt(bitPattern: target)) }
    }

    /// Gives the packet's buffers to the driver.
    func pushFirst(_ count: Int, size: Int, to queue: SplitQueue) {
        var left = size
        for _ in 0..<min(count, bufferCount) {
            let buffer = unsafe buffers[firstBuffer]
            let written = min(left, Int(buffer.bytes))
            queue.push(head: buffer.head, written: UInt32(truncatingIfNeeded: written))
            left &-= written
            firstBuffer &+= 1
            bufferCount &-= 1
            firstVector &+= Int(buffer.vectors)
            vectorCount &-= Int(buffer.vectors)
            bytes &-= Int(buffer.bytes)
        }
        if bufferCount == 0 {
            firstBuffer = 0
            firstVector = 0
        }
    }

    @inline(__always)
    private func forEachPiece(at offset: Int, count: Int, _ body: (UnsafeMutableRawPointer, Int) -> Void) {
        var skip = offset
        var left = count
        var index = 0
        while left > 0, index < vectorCount {
            let vector = unsafe vectors[firstVector &+ index]
            index &+= 1
            let length = unsafe vector.iov_len
            guard skip < length else {
                skip &-= length
                continue
            }
            guard let base = unsafe vector.iov_base else { return }
            let piece = min(left, length &- skip)
            unsafe body(base + skip, piece)
            left &-= piece
            skip = 0
        }
    }
}
