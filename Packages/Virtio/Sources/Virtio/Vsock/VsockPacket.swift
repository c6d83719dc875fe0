/// What a packet says (virtio 1.2, section 5.10.6: `op`).
enum VsockOperation: UInt16 {
    case request = 1
    case response = 2
    case reset = 3
    case shutdown = 4
    case data = 5
    case creditUpdate = 6
    case creditRequest = 7
}

/// Flags of a shutdown packet (virtio 1.2, section 5.10.6.5): what its sender will not do any more. Once said, it holds.
struct VsockShutdown: OptionSet, Equatable {
    let rawValue: UInt32
    static let receive = VsockShutdown(rawValue: 1)
    static let send = VsockShutdown(rawValue: 2)
    static let both: VsockShutdown = [.receive, .send]
}

/// `struct virtio_vsock_hdr`, a copy: the driver cannot change what has been checked.
struct VsockHeader: Equatable {
    static let size = 44
    /// VIRTIO_VSOCK_TYPE_STREAM. Type 2 belongs to SEQPACKET, which is not offered.
    static let streamType: UInt16 = 1

    var sourceCID: UInt64 = 0
    var destinationCID: UInt64 = 0
    var sourcePort: UInt32 = 0
    var destinationPort: UInt32 = 0
    /// Bytes behind the header.
    var length: UInt32 = 0
    var type = VsockHeader.streamType
    /// A `VsockOperation`, or anything.
    var operation: UInt16 = 0
    var flags: UInt32 = 0
    /// The sender's buffer, and how much of what went into it has gone out again.
    var bufferSize: UInt32 = 0
    var forwarded: UInt32 = 0
}

extension VsockHeader {
    /// Of the first bytes, all little endian; nil when there are fewer than `size`.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= Self.size else { return nil }
        func load<T: FixedWidthInteger>(_: T.Type, _ offset: Int) -> T {
            var value: T = 0
            for index in 0..<MemoryLayout<T>.size { value |= T(truncatingIfNeeded: bytes[offset &+ index]) << T(truncatingIfNeeded: 8 &* index) }
            return value
        }
        sourceCID = load(UInt64.self, 0)
        destinationCID = load(UInt64.self, 8)
        sourcePort = load(UInt32.self, 16)
        destinationPort = load(UInt32.self, 20)
        length = load(UInt32.self, 24)
        type = load(UInt16.self, 28)
        operation = load(UInt16.self, 30)
        flags = load(UInt32.self, 32)
        bufferSize = load(UInt32.self, 36)
        forwarded = load(UInt32.self, 40)
    }

    /// Into the first `size` bytes, which must be there.
    func store(into bytes: inout [UInt8]) {
        guard bytes.count >= Self.size else { return }
        func store<T: FixedWidthInteger>(_ value: T, _ offset: Int, _ bytes: inout [UInt8]) {
            for index in 0..<MemoryLayout<T>.size { bytes[offset &+ index] = UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: 8 &* index)) }
        }
        store(sourceCID, 0, &bytes)
        store(destinationCID, 8, &bytes)
        store(sourcePort, 16, &bytes)
        store(destinationPort, 20, &bytes)
        store(length, 24, &bytes)
        store(type, 28, &bytes)
        store(operation, 30, &bytes)
        store(flags, 32, &bytes)
        store(bufferSize, 36, &bytes)
        store(forwarded, 40, &bytes)
    }
}
