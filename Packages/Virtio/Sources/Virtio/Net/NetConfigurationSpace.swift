internal import LinuxSys

/// `struct virtio_net_config` up to `max_virtqueue_pairs` (virtio 1.2, section 5.1.4); an MTU is not offered. Read-only.
struct NetConfigurationSpace {
    static let linkUp: UInt16 = 1

    var mac: MACAddress
    var isLinkUp: Bool
    let queuePairs: UInt16

    /// `size` is 1...8; bytes beyond the end are 0.
    func read(offset: Int, size: Int) -> UInt64 {
        let status = isLinkUp ? Self.linkUp : 0
        return ConfigurationSpace.read(offset: offset, size: size) { place in
            switch place {
            case 0..<6: mac[place]
            case 6: UInt8(truncatingIfNeeded: status)
            case 7: UInt8(truncatingIfNeeded: status >> 8)
            case 8: UInt8(truncatingIfNeeded: queuePairs)
            case 9: UInt8(truncatingIfNeeded: queuePairs >> 8)
            default: 0
            }
        }
    }
}
