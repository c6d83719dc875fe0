internal import LinuxSys

/// Which frames the driver wants (virtio 1.2, section 5.1.6.5.1 to 5.1.6.5.3). Never changes once made: the control queue makes a new one, and each receiver,
/// on whatever thread, keeps the one it was given.
final class ReceiveFilter: Sendable {
    struct Modes: OptionSet, Sendable {
        let rawValue: UInt8
        static let promiscuous = Modes(rawValue: 1)
        static let allMulticast = Modes(rawValue: 2)
        static let allUnicast = Modes(rawValue: 4)
        static let noMulticast = Modes(rawValue: 8)
        static let noUnicast = Modes(rawValue: 16)
        static let noBroadcast = Modes(rawValue: 32)
    }

    /// Addresses of both tables together; a table that does not fit is taken for one that holds everything.
    static let tableLimit = 64

    let mac: MACAddress
    let modes: Modes
    /// Nil: too many for the table, so all pass.
    let unicast: [MACAddress]?
    let multicast: [MACAddress]?
    /// A bit for each VLAN; nil: not filtered. Empty until the first is added.
    let vlans: [UInt64]?

    init(mac: MACAddress, modes: Modes = .promiscuous, unicast: [MACAddress]? = [], multicast: [MACAddress]? = [], vlans: [UInt64]? = nil) {
        self.mac = mac
        self.modes = modes
        self.unicast = unicast
        self.multicast = multicast
        self.vlans = vlans
    }

    /// Nothing is looked at: so it is until the driver says otherwise, because one without CTRL_RX cannot.
    var passesAll: Bool { modes.contains(.promiscuous) }

    func accepts(_ frame: FrameHead) -> Bool {
        if passesAll { return true }
        // Number 0 is a priority without a VLAN (IEEE 802.1Q).
        if let vlans, let number = frame.vlan, number != 0, !Self.contains(vlans, number) { return false }
        let destination = MACAddress(bits: frame.destination)
        if destination == .broadcast { return !modes.contains(.noBroadcast) }
        if destination.isMulticast {
            if modes.contains(.noMulticast) { return false }
            return modes.contains(.allMulticast) || Self.matches(multicast, destination)
        }
        if modes.contains(.noUnicast) { return false }
        return modes.contains(.allUnicast) || destination == mac || Self.matches(unicast, destination)
    }

    private static func matches(_ table: [MACAddress]?, _ address: MACAddress) -> Bool {
        guard let table else { return true }
        return table.contains(address)
    }

    private static func contains(_ vlans: [UInt64], _ number: UInt16) -> Bool {
        let word = Int(number >> 6)
        return word < vlans.count && vlans[word] & 1 << UInt64(number & 63) != 0
    }

    // MARK: Changes

    func with(modes: Modes) -> ReceiveFilter { ReceiveFilter(mac: mac, modes: modes, unicast: unicast, multicast: multicast, vlans: vlans) }
    func with(mac: MACAddress) -> ReceiveFilter { ReceiveFilter(mac: mac, modes: modes, unicast: unicast, multicast: multicast, vlans: vlans) }

    func with(unicast: [MACAddress]?, multicast: [MACAddress]?) -> ReceiveFilter {
        ReceiveFilter(mac: mac, modes: modes, unicast: unicast, multicast: multicast, vlans: vlans)
    }

    /// `number` is below 4096.
    func with(vlan number: UInt16, isMember: Bool) -> ReceiveFilter {
        var vlans = vlans ?? []
        let word = Int(number >> 6)
        guard word < 64 else { return self }
        if vlans.count <= word { vlans += [UInt64](repeating: 0, count: word + 1 - vlans.count) }
        let bit: UInt64 = 1 << UInt64(number & 63)
        vlans[word] = isMember ? vlans[word] | bit : vlans[word] & ~bit
        return ReceiveFilter(mac: mac, modes: modes, unicast: unicast, multicast: multicast, vlans: vlans)
    }
}
