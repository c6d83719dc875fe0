/// Requests of the vhost-user protocol (QEMU, docs/interop/vhost-user.rst) that this front end makes.
enum VhostUserRequest: UInt32 {
    case getFeatures = 1
    case setFeatures = 2
    case setOwner = 3
    case setMemoryTable = 5
    case setRingSize = 8
    case setRingAddresses = 9
    case setRingBase = 10
    case getRingBase = 11
    case setKick = 12
    case setCall = 13
    case setError = 14
    case getProtocolFeatures = 15
    case setProtocolFeatures = 16
    case getQueueCount = 17
    case setRingEnable = 18
    case setBackEndChannel = 21
    case getConfiguration = 24
    case getInflight = 31
    case setInflight = 32

    /// The back end answers also without being asked to acknowledge.
    var hasReply: Bool {
        switch self {
        case .getFeatures, .getRingBase, .getProtocolFeatures, .getQueueCount, .getConfiguration, .getInflight: true
        default: false
        }
    }

    /// The name in the protocol's text, for messages.
    var name: String {
        switch self {
        case .getFeatures: "GET_FEATURES"
        case .setFeatures: "SET_FEATURES"
        case .setOwner: "SET_OWNER"
        case .setMemoryTable: "SET_MEM_TABLE"
        case .setRingSize: "SET_VRING_NUM"
        case .setRingAddresses: "SET_VRING_ADDR"
        case .setRingBase: "SET_VRING_BASE"
        case .getRingBase: "GET_VRING_BASE"
        case .setKick: "SET_VRING_KICK"
        case .setCall: "SET_VRING_CALL"
        case .setError: "SET_VRING_ERR"
        case .getProtocolFeatures: "GET_PROTOCOL_FEATURES"
        case .setProtocolFeatures: "SET_PROTOCOL_FEATURES"
        case .getQueueCount: "GET_QUEUE_NUM"
        case .setRingEnable: "SET_VRING_ENABLE"
        case .setBackEndChannel: "SET_BACKEND_REQ_FD"
        case .getConfiguration: "GET_CONFIG"
        case .getInflight: "GET_INFLIGHT_FD"
        case .setInflight: "SET_INFLIGHT_FD"
        }
    }
}

/// A message to the back end: a header of three 32-bit numbers in the machine's byte order (request, flags, size of the payload), and the payload.
struct VhostUserMessage {
    static let headerSize = 12
    /// Bytes of most payloads: a number, or a ring's index and a number.
    static let numberSize: UInt32 = 8

    static let version: UInt32 = 1
    static let versionMask: UInt32 = 3
    static let replyFlag: UInt32 = 1 << 2
    static let needReplyFlag: UInt32 = 1 << 3

    let request: VhostUserRequest
    private(set) var payload: [UInt8] = []
    /// Sent along; they stay the owner's.
    private(set) var descriptors: [Int32] = []

    init(_ request: VhostUserRequest) { self.request = request }

    init(_ request: VhostUserRequest, _ value: UInt64, descriptors: [Int32] = []) {
        self.request = request
        append(value)
        self.descriptors = descriptors
    }

    /// A ring's index and a number.
    init(_ request: VhostUserRequest, ring: UInt32, _ value: UInt32) {
        self.request = request
        append(ring)
        append(value)
    }

    init(_ request: VhostUserRequest, payload: [UInt8]) {
        self.request = request
        self.payload = payload
    }

    /// GET_CONFIG of the first `count` bytes: offset, size, flags, and as many bytes as are wanted back.
    static func getConfiguration(count: Int) -> VhostUserMessage {
        var message = VhostUserMessage(.getConfiguration)
        message.append(UInt32(0))
        message.append(UInt32(clamping: count))
        message.append(UInt32(0))
        message.payload += [UInt8](repeating: 0, count: count)
        return message
    }

    mutating func append(_ value: UInt32) { Self.append(value, to: &payload) }

    mutating func append(_ value: UInt64) {
        append(UInt32(truncatingIfNeeded: value.littleEndian))
        append(UInt32(truncatingIfNeeded: value.littleEndian >> 32))
    }

    mutating func attach(_ descriptor: Int32) { descriptors.append(descriptor) }

    func bytes(needsReply: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.headerSize + payload.count)
        Self.append(request.rawValue, to: &bytes)
        Self.append(Self.version | (needsReply ? Self.needReplyFlag : 0), to: &bytes)
        Self.append(UInt32(clamping: payload.count), to: &bytes)
        bytes += payload
        return bytes
    }

    // Every host that this runs on is little endian.
    private static func append(_ value: UInt32, to bytes: inout [UInt8]) {
        for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}

/// An answer that the back end owes.
struct VhostUserReply {
    /// What it belongs to.
    let request: VhostUserRequest
    /// For requests about a ring.
    let ring: UInt32
    /// Bytes of configuration that were asked for.
    let configurationSize: UInt32

    init(_ message: VhostUserMessage, ring: UInt32) {
        request = message.request
        self.ring = ring
        configurationSize = message.request == .getConfiguration ? UInt32(clamping: message.payload.count) &- Self.configurationHeader : 0
    }

    /// Offset, size and flags before the bytes of GET_CONFIG.
    private static let configurationHeader: UInt32 = 12
    /// With and without the padding that a C structure has at its end.
    private static let inflightSizes: [UInt32] = [20, 24]

    /// Descriptors that come with it.
    var descriptorCount: Int { request == .getInflight ? 1 : 0 }

    /// What is wrong with the first `bytes.count` bytes of it, as early as it can be told; nil when nothing is.
    func fault(in bytes: [UInt8]) -> VhostUserError.Violation? {
        if let answered = Self.word(bytes, 0), answered != request.rawValue { return .wrongRequest(answered) }
        if let flags = Self.word(bytes, 4) {
            // Some back ends send the wish for a reply back with the reply.
            guard flags & ~VhostUserMessage.needReplyFlag == VhostUserMessage.version | VhostUserMessage.replyFlag else { return .wrongFlags(flags) }
        }
        if let size = Self.word(bytes, 8), !isPossible(size) { return .wrongSize(size) }
        if request == .getRingBase, let index = Self.word(bytes, 12), index != ring { return .wrongRing(index) }
        if request == .getConfiguration, let size = Self.word(bytes, 16), size != configurationSize { return .wrongSize(size) }
        return nil
    }

    /// Bounds what is received for it.
    private func isPossible(_ size: UInt32) -> Bool {
        switch request {
        // Nothing: the back end says that it failed.
        case .getConfiguration: size == 0 || size == Self.configurationHeader &+ configurationSize
        case .getInflight: Self.inflightSizes.contains(size)
        default: size == VhostUserMessage.numberSize
        }
    }

    /// How many bytes are still to come after these, as far as it is known: first the rest of the header. None of the answer after it.
    static func missing(after bytes: [UInt8]) -> Int {
        guard let size = word(bytes, 8) else { return VhostUserMessage.headerSize - bytes.count }
        return VhostUserMessage.headerSize + Int(size) - bytes.count
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32? {
        guard bytes.count >= offset + 4 else { return nil }
        return VhostUserAnswer.word(bytes[...], offset)
    }
}

/// An answer that came and was asked for.
struct VhostUserAnswer {
    let request: VhostUserRequest
    /// As long as the protocol says; a ring's and a configuration's without what stands before them.
    let payload: ArraySlice<UInt8>

    /// `bytes` is a whole message without a fault.
    init(_ request: VhostUserRequest, _ bytes: [UInt8]) {
        self.request = request
        payload = bytes.dropFirst(request == .getConfiguration ? 24 : VhostUserMessage.headerSize)
    }

    /// The number that it is; the second half of a ring's.
    var number: UInt64 {
        let low = UInt64(Self.word(payload, 0))
        let high = UInt64(Self.word(payload, 4))
        return request == .getRingBase ? high : high << 32 | low
    }

    /// 64 bits of a longer payload.
    func long(_ offset: Int) -> UInt64 { UInt64(Self.word(payload, offset)) | UInt64(Self.word(payload, offset + 4)) << 32 }

    /// Little endian; 0 beyond the end.
    static func word(_ bytes: ArraySlice<UInt8>, _ offset: Int) -> UInt32 {
        guard offset >= 0, bytes.count >= offset + 4 else { return 0 }
        let start = bytes.startIndex + offset
        return UInt32(bytes[start]) | UInt32(bytes[start + 1]) << 8 | UInt32(bytes[start + 2]) << 16 | UInt32(bytes[start + 3]) << 24
    }
}
