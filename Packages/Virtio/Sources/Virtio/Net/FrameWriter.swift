internal import Glibc
internal import LinuxSys

/// The transmitting direction of a `FrameStream`. A socket may take part of a frame: the rest is copied, and goes before anything else, whatever becomes of the
/// guest's buffers meanwhile.
@safe
final class FrameWriter: @unchecked Sendable {
    enum Result: Equatable {
        /// Nothing is left.
        case done
        /// The socket takes nothing now.
        case full
        case failed(Errno)
    }

    /// What one call sends, unless a frame alone is longer. Linux takes up to some 36 KiB of a call into a unix socket as one piece or not at all (unix_stream_sendmsg), so
    /// a reader finds whole frames, and of a longer one two parts at most. passt of 2023 reads the rest of a frame with one recv(2), and is lost when that is not all.
    static let wholeLimit = 32 << 10
    /// Holds the longest frame, or that much in segments of at least some 300 bytes, each with headers of its own.
    static let capacity = 24 << 12
    /// Behind that: a packet of which frames are made.
    private static let workSize = 17 << 12

    private let file: OwnedFD
    private var buffer = StreamBuffer(size: FrameWriter.capacity + FrameWriter.workSize)
    private var start = 0
    private var end = 0
    /// Bytes at the start that end a frame which has begun; then whole frames follow.
    private var rest = 0
    /// How often something was kept; it wraps.
    private(set) var uses: UInt64 = 0

    init(_ file: consuming OwnedFD) { self.file = file }

    var descriptor: Int32 { file.raw }
    var isEmpty: Bool { start == end }
    var holdsMemory: Bool { buffer.isThere }

    /// Sends what was kept.
    func flush() -> Result {
        while start < end {
            guard let memory = unsafe buffer.memory() else { return .failed(.noMemory) }
            let piece = unsafe rest > 0 ? rest : wholeFrames(in: memory)
            // SAFETY: start + piece <= end, inside the buffer.
            var vector = unsafe iovec(iov_base: memory + start, iov_len: piece)
            let result = unsafe FrameSocket.send(file.raw, vectors: &vector, count: 1)
            if result == -Int(EAGAIN) { return .full }
            guard result > 0 else { return .failed(Errno(Int32(truncatingIfNeeded: 0 &- result))) }
            start = min(end, start &+ result)
            rest = max(0, piece &- result)
        }
        start = 0
        end = 0
        return .done
    }

    /// Bytes of the frames at the start that go together.
    private func wholeFrames(in memory: UnsafeMutableRawPointer) -> Int {
        var size = 0
        while end &- start &- size >= FrameStream.lengthSize {
            // SAFETY: four bytes before `end`.
            let length = Int(UInt32(bigEndian: unsafe memory.loadUnaligned(fromByteOffset: start &+ size, as: UInt32.self)))
            let next = size &+ FrameStream.lengthSize &+ length
            if size > 0, next > Self.wholeLimit { break }
            size = next
        }
        return min(size, end &- start)
    }

    /// What the call returned, or -errno. Only when nothing is kept.
    /// SAFETY: `count` valid iovecs of memory that may be read.
    @unsafe
    func send(_ vectors: UnsafePointer<iovec>, _ count: Int) -> Int { unsafe FrameSocket.send(file.raw, vectors: vectors, count: count) }

    /// Keeps `count` more bytes; false when there is no room for them.
    /// SAFETY: the caller gives `count` bytes at `source`, which the guest may be changing.
    @unsafe
    func keep(_ source: UnsafeRawPointer, _ count: Int) -> Bool {
        guard count <= Self.capacity &- end, let memory = unsafe buffer.memory() else { return false }
        // SAFETY: end + count <= capacity.
        unsafe (memory + end).copyMemory(from: source, byteCount: count)
        end &+= count
        rest &+= count
        uses &+= 1
        return true
    }

    /// Keeps what the packet of `chain` is on a wire. Only when nothing is kept. False for one that makes no sense.
    func keepFrames(of chain: DescriptorChain, _ header: NetHeader) -> Bool {
        let length = Int(truncatingIfNeeded: chain.readableBytes) &- NetHeader.size
        guard isEmpty, (0...FrameStream.maximumFrame).contains(length), let memory = unsafe buffer.memory() else { return false }
        let work = unsafe memory + Self.capacity
        var done = 0
        chain.forEach(.readable, skip: UInt64(NetHeader.size), length: UInt64(length)) { address, count in
            // SAFETY: pieces are guest RAM that the chain has checked, and add up to at most `length`, which is below workSize.
            guard let source = unsafe UnsafeRawPointer(bitPattern: address), count <= length &- done else { return }
            unsafe (work + done).copyMemory(from: source, byteCount: count)
            done &+= count
        }
        uses &+= 1
        start = 0
        // SAFETY: the two parts of the buffer do not overlap.
        end = unsafe FrameFinisher(work, length: length, header: header).write(to: memory, room: Self.capacity)
        return end > 0
    }

    /// Gives the buffer back. A new one is made when it is needed.
    func releaseIfEmpty() {
        guard isEmpty else { return }
        start = 0
        end = 0
        buffer.release()
    }
}
