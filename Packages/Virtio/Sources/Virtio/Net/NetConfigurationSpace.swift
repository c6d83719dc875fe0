internal import LinuxSys

/// `struct virtio_net_config` up to `max_virtqueue_pairs` (virtio 1.2, section 5.1.4); an MTU is not offered. Read-only.
struct NetConfigurationSpace {
    static let linkUp: UInt16 = 1

    var mac: MACAddress
    var isLinkUp: Bool
    let queuePairs: UInt16

    /// `size` is 1...8; bytes beyond the end are 0.
    func read(offset: Int, size: Int) -> UInt64 {
        guard offset >= 0, size >= 1, size <= 8 else { return 0 }
        var value: UInt64 = 0
        for byte in 0..<size { value |= UInt64(self.byte(offset &+ byte)) << UInt64(8 &* byte) }
        return value
    }

    private func byte(_ offset: Int) -> UInt8 {
        let status = isLinkUp ? Self.linkUp : 0
        return switch offset {
        case 0..<6: mac[offset]
        case 6: UInt8(truncatingIfNeeded: status)
        case 7: UInt8(truncatingIfNeeded: status >> 8)
        case 8: UInt8(truncatingIfNeeded: queuePairs)
        case 9: UInt8(truncatingIfNeeded: queuePairs >> 8)
        default: 0
        }
    }
}
