/// Feature bits of the console device (virtio 1.2, section 5.3.3).
public enum ConsoleFeature {
    /// `cols` and `rows` of the configuration space are valid.
    public static let size: UInt64 = 1 << 0
    /// More than one port, and control queues.
    public static let multiport: UInt64 = 1 << 1
}

/// Events of control messages (virtio 1.2, section 5.3.6.2).
enum ConsoleEvent: UInt16 {
    case deviceReady = 0
    case deviceAdd = 1
    case deviceRemove = 2
    case portReady = 3
    case consolePort = 4
    case resize = 5
    case portOpen = 6
    case portName = 7
}

/// `struct virtio_console_control`.
struct ConsoleMessage {
    static let size = 8

    let port: UInt32
    let event: UInt16
    let value: UInt16

    /// Nil when the chain is too short.
    init?(_ chain: DescriptorChain) {
        guard let port = chain.readInteger(UInt32.self, at: 0), let event = chain.readInteger(UInt16.self, at: 4),
            let value = chain.readInteger(UInt16.self, at: 6)
        else { return nil }
        self.port = port
        self.event = event
        self.value = value
    }
}

/// Which queue belongs to which port (virtio 1.2, section 5.3.2): port 0, then the control queues, then the other ports.
enum ConsoleQueue: Equatable {
    case receive(port: Int)
    case transmit(port: Int)
    case controlReceive
    case controlTransmit

    static func count(ports: Int) -> Int { 2 &* ports &+ 2 }

    init(index: Int) {
        let isReceive = index & 1 == 0
        switch index >> 1 {
        case 0: self = isReceive ? .receive(port: 0) : .transmit(port: 0)
        case 1: self = isReceive ? .controlReceive : .controlTransmit
        case let pair: self = isReceive ? .receive(port: pair &- 1) : .transmit(port: pair &- 1)
        }
    }

    var index: Int {
        switch self {
        case .receive(let port): port == 0 ? 0 : 2 &* port &+ 2
        case .transmit(let port): port == 0 ? 1 : 2 &* port &+ 3
        case .controlReceive: 2
        case .controlTransmit: 3
        }
    }
}
