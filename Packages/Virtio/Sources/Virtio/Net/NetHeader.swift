/// `struct virtio_net_hdr` with `num_buffers` (virtio 1.2, section 5.1.6): 12 bytes, little endian, before each packet in both directions. Also what
/// the tap puts before its packets (TUNSETVNETHDRSZ).
struct NetHeader: Equatable {
    static let size = 12
    static let flagsOffset = 0
    static let bufferCountOffset = 10
    /// Destination, source, type.
    static let ethernetSize = 14
    /// The largest packet with its header: an IP packet of 65535 bytes after an Ethernet header with a VLAN tag.
    static let maximumPacket = size + ethernetSize + 4 + 65535

    static let needsChecksum: UInt8 = 1
    /// GSO types.
    static let noGSO: UInt8 = 0
    static let tcp4: UInt8 = 1
    static let udp: UInt8 = 3
    static let tcp6: UInt8 = 4

    /// The bytes, low ones first in `low`; a value, so that nothing is fetched from the guest twice.
    private(set) var low: UInt64
    private(set) var high: UInt32

    init(low: UInt64, high: UInt32) {
        self.low = low
        self.high = high
    }

    /// Of a chain that the driver wants sent, as `sanitized`; nil for a chain that is no packet, or one that may not be sent.
    init?(of chain: DescriptorChain, features: UInt64) {
        let size = chain.readableBytes
        guard size >= UInt64(Self.size + Self.ethernetSize), size <= UInt64(Self.maximumPacket),
            let low = chain.readInteger(UInt64.self, at: 0), let high = chain.readInteger(UInt32.self, at: 8),
            let header = NetHeader(low: low, high: high).sanitized(features: features)
        else { return nil }
        self = header
    }

    var flags: UInt8 { UInt8(truncatingIfNeeded: low) }
    var gsoType: UInt8 { UInt8(truncatingIfNeeded: low >> 8) }

    /// Bytes of payload in each segment.
    var segmentSize: Int { Int(UInt16(truncatingIfNeeded: low >> 32)) }
    /// Where in the frame the checksum begins to count, and where from there it is put.
    var checksumStart: Int { Int(UInt16(truncatingIfNeeded: low >> 48)) }
    var checksumOffset: Int { Int(UInt16(truncatingIfNeeded: high)) }

    /// Checksum or segments are still to be made.
    var isUnfinished: Bool { flags & Self.needsChecksum != 0 || gsoType != Self.noGSO }

    /// What the kernel may see of a header that the driver wrote; nil for a kind of packet that was not negotiated.
    ///
    /// Flags that the device does not know are ignored (section 5.1.6.2.2), and `num_buffers` means nothing in this direction. Sizes and offsets are the kernel's to check:
    /// it has the packet.
    func sanitized(features: UInt64) -> NetHeader? {
        let wanted: UInt64
        switch gsoType {
        case Self.noGSO: wanted = 0
        case Self.tcp4: wanted = NetFeature.hostTSO4
        case Self.tcp6: wanted = NetFeature.hostTSO6
        case Self.udp: wanted = NetFeature.hostUFO
        // Also with the ECN bit: HOST_ECN is not offered.
        default: return nil
        }
        guard features & wanted == wanted else { return nil }
        let kept = features & NetFeature.checksum != 0 ? flags & Self.needsChecksum : 0
        return NetHeader(low: low & ~0xff | UInt64(kept), high: high & 0xffff)
    }
}

/// The start of an Ethernet frame, as far as a filter looks at it.
struct FrameHead {
    /// Bytes that hold it: the two addresses, the type, and the tag when the type is 802.1Q's.
    static let size = 16
    static let vlanType: UInt16 = 0x8100

    /// The destination's six bytes, the first one highest, as in `MACAddress.bits`.
    let destination: UInt64
    /// The VLAN's number; nil without a tag.
    let vlan: UInt16?

    /// The first 16 bytes of the frame, little endian; what the frame does not have is 0.
    init(low: UInt64, high: UInt64) {
        destination = low.byteSwapped >> 16
        let type = UInt16(truncatingIfNeeded: high >> 32).byteSwapped
        let tag = UInt16(truncatingIfNeeded: high >> 48).byteSwapped
        vlan = type == Self.vlanType ? tag & 0xfff : nil
    }
}
