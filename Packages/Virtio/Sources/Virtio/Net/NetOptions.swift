public import LinuxSys

/// What the user chooses for a network device; the back end comes apart from it.
public struct NetOptions: Sendable {
    /// The most queue pairs, as for `-netdev queues=`.
    public static let maximumQueuePairs = 16
    /// Queue sizes, powers of two: what fits IOV_MAX with a header is always moved in one call, what does not is dropped (see `NetTransmitter`).
    public static let queueSizes = UInt16(256)...UInt16(4096)

    /// What the driver is told its address is.
    public var mac: MACAddress
    /// 1...`maximumQueuePairs`; cut to that. What exists for the device's life: back ends that come later may have more or fewer.
    public var queuePairs: Int
    /// A power of two in `queueSizes`; what is not becomes 256.
    public var queueSize: UInt16
    /// Offer VIRTIO_NET_F_MQ; without it the driver uses the first pair.
    public var offersMultiqueue: Bool

    public init(mac: MACAddress, queuePairs: Int = 1, queueSize: UInt16 = 256, offersMultiqueue: Bool = false) {
        self.mac = mac
        self.queuePairs = queuePairs
        self.queueSize = queueSize
        self.offersMultiqueue = offersMultiqueue
    }

    var pairs: Int { min(max(queuePairs, 1), Self.maximumQueuePairs) }
    var size: UInt16 { Self.queueSizes.contains(queueSize) && queueSize & (queueSize &- 1) == 0 ? queueSize : 256 }
}

/// The loops whose threads move packets. May be one and the same, and the transport's own.
public struct NetLoops: Sendable {
    public let receive: EventLoop
    public let transmit: EventLoop

    public init(rx receive: EventLoop, tx transmit: EventLoop) {
        self.receive = receive
        self.transmit = transmit
    }
}
