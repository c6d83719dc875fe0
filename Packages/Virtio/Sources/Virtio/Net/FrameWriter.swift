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

    /// Holds the longest frame.
    static let capacity = 17 << 12
    /// Bytes whose pages are kept: the rest of an ordinary frame.
    private static let kept = 1 << 12

    private let file: OwnedFD
    private var buffer = StreamBuffer(size: FrameWriter.capacity)
    private var start = 0
    private var end = 0

    init(_ file: consuming OwnedFD) { self.file = file }

    var descriptor: Int32 { file.raw }
    var isEmpty: Bool { start == end }

    /// Sends what was kept.
    func flush() -> Result {
        while start < end {
            guard let memory = unsafe buffer.memory() else { return .failed(.noMemory) }
            // SAFETY: start..<end is inside the buffer.
            var vector = unsafe iovec(iov_base: memory + start, iov_len: end &- start)
            let result = unsafe FrameSocket.send(file.raw, vectors: &vector, count: 1)
            if result == -Int(EAGAIN) { return .full }
            guard result > 0 else { return .failed(Errno(Int32(truncatingIfNeeded: 0 &- result))) }
            start = min(end, start &+ result)
        }
        if end > Self.kept { buffer.release() }
        start = 0
        end = 0
        return .done
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
        return true
    }
}
