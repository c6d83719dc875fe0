internal import CTap
internal import Glibc
internal import LinuxSys

/// Frames on their way into a stream, as one sendmsg(2) takes them: of each its length, and its pieces in the driver's buffers.
@safe
final class TransmitBatch {
    enum Outcome {
        case taken
        /// No packet, or one that may not be sent: its buffers go back in their turn.
        case malformed
        /// Goes into the next batch.
        case full
        /// Frames are to be made of it first.
        case unfinished(NetHeader)
    }

    private struct Entry {
        let head: UInt16
        /// Bytes of the batch up to the frame's end.
        let end: Int
        /// Bytes of the chain, its header among them.
        let readable: UInt64
    }

    static let frameLimit = 64

    // SAFETY: allocated for the object's life. The first `vectorCount` vectors are initialized: they describe elements of `lengths`, or guest RAM that DescriptorChain has
    // checked and the transmitter's session keeps. The first `count` entries and lengths are initialized.
    private let vectors: UnsafeMutablePointer<iovec>
    private let lengths: UnsafeMutablePointer<UInt32>
    private let entries: UnsafeMutablePointer<Entry>
    private var vectorCount = 0
    private(set) var count = 0
    /// Frames whose buffers have gone back.
    private(set) var completed = 0
    private var bytes = 0

    init() {
        unsafe vectors = .allocate(capacity: Int(CTAP_VECTOR_LIMIT))
        unsafe lengths = .allocate(capacity: Self.frameLimit)
        unsafe entries = .allocate(capacity: Self.frameLimit)
    }

    deinit {
        unsafe vectors.deallocate()
        unsafe lengths.deallocate()
        unsafe entries.deallocate()
    }

    var isFull: Bool { count == Self.frameLimit || bytes >= FrameWriter.wholeLimit }

    func clear() {
        vectorCount = 0
        count = 0
        completed = 0
        bytes = 0
    }

    func append(_ chain: DescriptorChain, features: UInt64) -> Outcome {
        guard !isFull else { return .full }
        guard let header = NetHeader(of: chain, features: features) else { return add(chain, .malformed) }
        if header.isUnfinished { return .unfinished(header) }
        let skip = UInt64(NetHeader.size)
        let length = chain.readableBytes - skip
        let pieces = chain.segmentCount(.readable, skip: skip, length: length)
        guard pieces <= TransmitPacket.pieceLimit else { return add(chain, .malformed) }
        let isRoom = bytes == 0 || bytes &+ FrameStream.lengthSize &+ Int(length) <= FrameWriter.wholeLimit
        guard isRoom, vectorCount &+ pieces &+ 1 <= Int(CTAP_VECTOR_LIMIT) else { return .full }
        // SAFETY: `count` is below the limit, and there is room for `pieces` vectors and one more.
        unsafe (lengths + count).initialize(to: UInt32(truncatingIfNeeded: length).bigEndian)
        unsafe (vectors + vectorCount).initialize(to: iovec(iov_base: lengths + count, iov_len: FrameStream.lengthSize))
        unsafe chain.fill(vectors + (vectorCount &+ 1), .readable, skip: skip, length: length)
        vectorCount &+= pieces &+ 1
        bytes &+= FrameStream.lengthSize &+ Int(length)
        return add(chain, .taken)
    }

    private func add(_ chain: DescriptorChain, _ outcome: Outcome) -> Outcome {
        unsafe (entries + count).initialize(to: Entry(head: chain.head, end: bytes, readable: chain.readableBytes))
        count &+= 1
        return outcome
    }

    /// Sends them, as far as the socket goes: what the call returned, or -errno.
    func send(to writer: FrameWriter) -> Int { vectorCount == 0 ? 0 : unsafe writer.send(vectors, vectorCount) }

    /// Gives back the buffers of frames that are sent, `sent` bytes of the batch in all. Of one that was sent in part `writer` keeps the rest; false when it cannot,
    /// and the frame stays cut.
    func complete(_ sent: Int, on queue: SplitQueue, _ writer: FrameWriter) -> Bool {
        while completed < count {
            let entry = unsafe entries[completed]
            if entry.end > sent {
                let begin = completed == 0 ? 0 : unsafe entries[completed &- 1].end
                guard begin < sent else { return true }
                // It has begun: it must end.
                guard keep(sent, entry.end, writer) else { return false }
            }
            queue.push(head: entry.head, written: 0)
            completed &+= 1
        }
        return true
    }

    /// Puts the chains of frames that are not sent into the queue again.
    func putBack(on queue: SplitQueue) {
        guard completed < count else { return }
        var readable: UInt64 = 0
        for index in completed..<count { readable &+= unsafe entries[index].readable }
        queue.undoPops(count &- completed, bytes: readable)
        queue.counters.stalls.add()
        count = completed
    }

    /// Bytes from `start` to `end` of the batch.
    private func keep(_ start: Int, _ end: Int, _ writer: FrameWriter) -> Bool {
        var skip = start
        var left = end &- start
        for index in 0..<vectorCount where left > 0 {
            let vector = unsafe vectors[index]
            let length = unsafe vector.iov_len
            guard skip < length else {
                skip &-= length
                continue
            }
            guard let base = unsafe vector.iov_base else { return false }
            let piece = min(left, length &- skip)
            // SAFETY: a part of what the vector describes.
            guard unsafe writer.keep(base + skip, piece) else { return false }
            left &-= piece
            skip = 0
        }
        return true
    }
}
