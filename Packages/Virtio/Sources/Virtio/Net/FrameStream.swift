internal import LinuxSys
internal import Synchronization

/// A connection that carries Ethernet frames, each after its length as a 32-bit big-endian number, and no virtio-net header (QEMU's `-netdev stream`, passt(1)). What
/// has come and what has yet to go belong to the connection and not to whoever uses it now: devices come and go, and frames must not be cut.
///
/// Any thread; each direction is used by one at a time.
final class FrameStream: Sendable {
    /// Why a connection has ended.
    enum Failure: Equatable, Sendable {
        case hungUp
        /// No frame is that long: the peer speaks something else, or means harm.
        case tooLong(UInt32)
        case error(Errno)
    }

    /// Bytes before each frame.
    static let lengthSize = 4
    /// An IP packet of 65535 bytes after an Ethernet header with a VLAN tag.
    static let maximumFrame = NetHeader.maximumPacket - NetHeader.size

    let reader: FrameReader
    let writer: FrameWriter
    /// The same socket under a third number: an event loop watches a number once, and all three may be on one loop.
    private let file: OwnedFD
    private let ending = Mutex<Failure?>(nil)
    private let isOver = Atomic<Bool>(false)

    init(_ socket: consuming OwnedFD) throws(Errno) {
        reader = FrameReader(try socket.duplicate())
        writer = FrameWriter(try socket.duplicate())
        file = socket
    }

    /// For whoever waits for the connection's end.
    var descriptor: Int32 { file.raw }
    var receiveDescriptor: Int32 { reader.descriptor }
    var transmitDescriptor: Int32 { writer.descriptor }

    /// What became of a connection that was being made.
    func connectionResult() throws(Errno) { try file.connectionResult() }

    var hasFailed: Bool { isOver.load(ordering: .acquiring) }
    var failure: Failure? { ending.withLock { $0 } }

    /// Ends the connection: whoever watches it sees a hang-up. True the first time, whose reason counts.
    @discardableResult
    func fail(_ reason: Failure) -> Bool {
        let isFirst = ending.withLock { ending in
            guard ending == nil else { return false }
            ending = reason
            return true
        }
        if isFirst {
            isOver.store(true, ordering: .releasing)
            FrameSocket.shutDown(file.raw)
        }
        return isFirst
    }
}

/// The receiving direction: what has been read from the socket and not yet taken.
@safe
final class FrameReader: @unchecked Sendable {
    /// What the bytes begin with.
    enum Front: Equatable {
        /// Not yet a whole frame.
        case incomplete
        case frame(Int)
        /// A length that no frame has.
        case tooLong(UInt32)
    }

    /// Bytes that one read takes at most; holds the longest frame, so that it can always go on.
    static let capacity = 17 << 12
    /// Reads after which `discardWaiting` gives up: more than a socket holds.
    private static let discardLimit = 64

    private let file: OwnedFD
    private var buffer = StreamBuffer(size: FrameReader.capacity)
    private var start = 0
    private var end = 0
    /// The last read took all there was.
    var isDrained = false
    /// Reads so far; it wraps.
    private(set) var fills: UInt64 = 0

    init(_ file: consuming OwnedFD) { self.file = file }

    var descriptor: Int32 { file.raw }
    var holdsMemory: Bool { buffer.isThere }

    var front: Front {
        guard end &- start >= FrameStream.lengthSize, let memory = unsafe buffer.memory() else { return .incomplete }
        // SAFETY: start + 4 <= end <= capacity, the buffer's size.
        let length = UInt32(bigEndian: unsafe memory.loadUnaligned(fromByteOffset: start, as: UInt32.self))
        guard length <= UInt32(FrameStream.maximumFrame) else { return .tooLong(length) }
        return Int(length) <= end &- start &- FrameStream.lengthSize ? .frame(Int(length)) : .incomplete
    }

    /// Reads once, as much as there is room for, when there is no whole frame: what the call returned, or -errno.
    func fill() -> Int {
        guard let memory = unsafe buffer.memory() else { return -Int(Errno.noMemory.code) }
        if start > 0 {
            // SAFETY: both ranges are inside the buffer.
            if start < end { unsafe memory.copyMemory(from: memory + start, byteCount: end &- start) }
            end &-= start
            start = 0
        }
        let room = Self.capacity &- end
        // SAFETY: `room` bytes from `end` on are inside.
        let result = unsafe FrameSocket.receive(file.raw, into: memory + end, count: room)
        isDrained = result < room
        if result > 0 {
            end &+= min(result, room)
            fills &+= 1
        }
        return result
    }

    /// Takes the frame of `length` bytes at the front away.
    func skip(_ length: Int) { start = min(end, start &+ FrameStream.lengthSize &+ max(0, length)) }

    /// The start of the frame of `length` bytes at the front.
    func head(_ length: Int) -> FrameHead {
        var words: (UInt64, UInt64) = (0, 0)
        if let memory = unsafe buffer.memory() {
            unsafe withUnsafeMutableBytes(of: &words) { target in
                // SAFETY: as in `front`; at most 16 bytes, the size of `words`.
                unsafe target.baseAddress?.copyMemory(from: memory + start + FrameStream.lengthSize, byteCount: min(length, FrameHead.size))
            }
        }
        return FrameHead(low: UInt64(littleEndian: words.0), high: UInt64(littleEndian: words.1))
    }

    /// Copies the frame of `length` bytes at the front into a window's first `count` buffers.
    func copy(_ length: Int, into window: ReceiveWindow, buffers count: Int) {
        guard let memory = unsafe buffer.memory() else { return }
        // SAFETY: `front` has said that the frame is there.
        unsafe window.copy(memory + start + FrameStream.lengthSize, length: length, buffers: count)
    }

    /// Throws away the frames that have come; one that has come in part stays.
    func discardWaiting() {
        for _ in 0..<Self.discardLimit {
            while case .frame(let length) = front { skip(length) }
            guard front == .incomplete, fill() > 0 else { break }
        }
        releaseIfEmpty()
    }

    /// Gives the buffer back. The next read makes a new one.
    func releaseIfEmpty() {
        guard start == end else { return }
        start = 0
        end = 0
        buffer.release()
    }
}

/// Pages that are there only while they are needed.
@safe
struct StreamBuffer: ~Copyable {
    private let size: Int
    private var mapping: MemoryMapping?
    // SAFETY: of `mapping`; both change together.
    private var start: UnsafeMutableRawPointer?

    init(size: Int) { self.size = size }

    var isThere: Bool { unsafe start != nil }

    /// `size` bytes, valid until `release` or until this value goes; nil when the host has no memory.
    mutating func memory() -> UnsafeMutableRawPointer? {
        if unsafe start == nil, let new = try? MemoryMapping.anonymous(size: size) {
            unsafe start = new.base
            mapping = consume new
        }
        return unsafe start
    }

    mutating func release() {
        unsafe start = nil
        mapping = nil
    }
}
