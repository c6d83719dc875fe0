internal import LinuxSys

/// A command of the control queue (virtio 1.2, section 5.1.6.5), copied from guest memory and checked. The first two bytes are class and command.
enum NetControlCommand: Equatable {
    case mode(ReceiveFilter.Modes, isOn: Bool)
    /// Nil: a table that is too long to keep.
    case addressTables(unicast: [MACAddress]?, multicast: [MACAddress]?)
    case address(MACAddress)
    case vlan(UInt16, isMember: Bool)
    case queuePairs(Int)

    static let acknowledged: UInt8 = 0
    static let refused: UInt8 = 1

    private enum Class {
        static let receive: UInt8 = 0
        static let address: UInt8 = 1
        static let vlan: UInt8 = 2
        static let multiqueue: UInt8 = 4
    }

    /// The feature that makes the command one.
    var feature: UInt64 {
        switch self {
        case .mode(let mode, _): mode.isSubset(of: [.promiscuous, .allMulticast]) ? NetFeature.controlReceive : NetFeature.controlReceiveExtra
        case .addressTables: NetFeature.controlReceive
        case .address: NetFeature.controlMAC
        case .vlan: NetFeature.controlVLAN
        case .queuePairs: NetFeature.multiqueue
        }
    }

    /// Nil for what is none: an unknown class or command, too few or too many bytes, a value that is out of range whatever was negotiated.
    init?(_ chain: DescriptorChain) {
        guard let group = chain.readInteger(UInt8.self, at: 0), let command = chain.readInteger(UInt8.self, at: 1) else { return nil }
        let payload = chain.readableBytes &- 2
        switch (group, command) {
        case (Class.receive, 0...5):
            guard payload == 1, let value = chain.readInteger(UInt8.self, at: 2), value <= 1 else { return nil }
            self = .mode(ReceiveFilter.Modes(rawValue: 1 << command), isOn: value == 1)
        case (Class.address, 0):
            guard let tables = Self.tables(chain, payload: payload) else { return nil }
            self = .addressTables(unicast: tables.unicast, multicast: tables.multicast)
        case (Class.address, 1):
            guard payload == 6, let mac = Self.address(chain, at: 2), !mac.isMulticast, !mac.isZero else { return nil }
            self = .address(mac)
        case (Class.vlan, 0...1):
            guard payload == 2, let number = chain.readInteger(UInt16.self, at: 2), number < 4096 else { return nil }
            self = .vlan(number, isMember: command == 0)
        case (Class.multiqueue, 0):
            guard payload == 2, let pairs = chain.readInteger(UInt16.self, at: 2), pairs > 0 else { return nil }
            self = .queuePairs(Int(pairs))
        default:
            return nil
        }
    }

    /// Two tables, each a 32-bit count and that many addresses, and nothing behind them.
    private static func tables(_ chain: DescriptorChain, payload: UInt64) -> (unicast: [MACAddress]?, multicast: [MACAddress]?)? {
        guard payload >= 8, let first = chain.readInteger(UInt32.self, at: 2) else { return nil }
        // 32-bit counts times 6, in 64 bits: nothing wraps.
        let firstBytes = UInt64(first) * 6
        guard firstBytes <= payload - 8, let second = chain.readInteger(UInt32.self, at: 6 + firstBytes) else { return nil }
        guard UInt64(second) * 6 == payload - 8 - firstBytes else { return nil }
        // The limit bounds the allocation, whatever the guest claims.
        let limit = UInt32(ReceiveFilter.tableLimit)
        let keepsFirst = first <= limit
        let keepsSecond = second <= limit - (keepsFirst ? first : 0)
        var unicast: [MACAddress]?
        var multicast: [MACAddress]?
        if keepsFirst {
            guard let table = table(chain, at: 6, count: first) else { return nil }
            unicast = table
        }
        if keepsSecond {
            guard let table = table(chain, at: 10 + firstBytes, count: second) else { return nil }
            multicast = table
        }
        return (unicast, multicast)
    }

    private static func table(_ chain: DescriptorChain, at start: UInt64, count: UInt32) -> [MACAddress]? {
        var table: [MACAddress] = []
        table.reserveCapacity(Int(count))
        for index in 0..<UInt64(count) {
            guard let address = address(chain, at: start + index * 6) else { return nil }
            table.append(address)
        }
        return table
    }

    private static func address(_ chain: DescriptorChain, at offset: UInt64) -> MACAddress? {
        guard let high = chain.readInteger(UInt16.self, at: offset), let low = chain.readInteger(UInt32.self, at: offset + 2) else { return nil }
        return MACAddress(bits: UInt64(high.byteSwapped) << 32 | UInt64(low.byteSwapped))
    }
}
