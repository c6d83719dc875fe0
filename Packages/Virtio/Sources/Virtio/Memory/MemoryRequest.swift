/// A request of the driver (virtio 1.2, section 5.15.6), copied from guest memory.
struct MemoryRequest: Equatable {
    static let size: UInt64 = 24

    enum Kind: UInt16 {
        case plug = 0
        case unplug = 1
        case unplugAll = 2
        case state = 3
    }

    /// Nil for a type that the device does not know.
    let kind: Kind?
    /// Guest physical address of the first block. Nothing to `unplugAll`.
    let address: UInt64
    let count: UInt16

    /// Nil when the chain has no room for a request.
    init?(_ chain: DescriptorChain) {
        guard chain.readableBytes >= Self.size, let type = chain.readInteger(UInt16.self, at: 0), let address = chain.readInteger(UInt64.self, at: 8),
            let count = chain.readInteger(UInt16.self, at: 16)
        else { return nil }
        kind = Kind(rawValue: type)
        self.address = address
        self.count = count
    }
}

/// What the driver is told.
enum MemoryResponse: Equatable {
    static let size: UInt64 = 10

    enum State: UInt16 {
        case plugged = 0
        case unplugged = 1
        case mixed = 2
    }

    case acknowledged
    case state(State)
    /// More than was asked for. Linux tries again at once.
    case refused
    /// Not now. Linux tries again later.
    case busy
    /// The request is wrong. Linux gives the device up.
    case error

    var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(Self.size))
        switch self {
        case .acknowledged: break
        case .state(let state): bytes[8] = UInt8(truncatingIfNeeded: state.rawValue)
        case .refused: bytes[0] = 1
        case .busy: bytes[0] = 2
        case .error: bytes[0] = 3
        }
        return bytes
    }
}
