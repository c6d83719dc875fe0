/// What a device needs of its back end.
struct VhostUserNeeds {
    /// Counted as GET_QUEUE_NUM counts them: queues, of a network device pairs of queues.
    var queues: UInt64
    /// Bytes of configuration space that the back end keeps; 0: none.
    var configurationSize = 0
    /// Requests must be done although the back end dies: it notes them in shared memory (VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD), or this process does
    /// (`VhostUserRelay`).
    var replays = false
    /// Throws when the device cannot use what is offered.
    var check: (VhostUserOffer) throws(VhostUserError) -> Void = { (_) in }
}

/// What a back end can do.
struct VhostUserOffer: Equatable {
    var features: UInt64 = 0
    /// Those of the protocol that are in use.
    var protocolFeatures: UInt64 = 0
    /// Nil when it does not tell.
    var queues: UInt64?
    /// As long as was needed.
    var configuration: [UInt8] = []

    /// Rings start disabled, and the protocol has features of its own.
    var hasProtocolFeatures: Bool { features & VhostUserFeature.protocolFeatures != 0 }
    var tracksInflight: Bool { protocolFeatures & VhostUserFeature.inflight != 0 }
}

/// Feature bits (QEMU, docs/interop/vhost-user.rst): VHOST_USER_F_PROTOCOL_FEATURES, and those of the protocol (VHOST_USER_PROTOCOL_F_).
enum VhostUserFeature {
    static let protocolFeatures: UInt64 = 1 << 30
    /// MQ: the back end tells how many queues it has.
    static let multiQueue: UInt64 = 1 << 0
    /// REPLY_ACK: requests can be acknowledged.
    static let replyAcknowledge: UInt64 = 1 << 3
    /// BACKEND_REQ: the back end may ask something in its turn.
    static let backEndChannel: UInt64 = 1 << 5
    /// CONFIG: it keeps the device's configuration space.
    static let configuration: UInt64 = 1 << 9
    /// INFLIGHT_SHMFD: it notes requests in flight in memory that outlives it.
    static let inflight: UInt64 = 1 << 12
}

/// The first messages of a connection, until it is known what the back end can do. Nothing waits: each answer sends the next questions.
struct VhostUserHandshake {
    private let needs: VhostUserNeeds
    /// For the back end's own requests, when it has any.
    private let channel: VhostUserChannel?
    private(set) var offer = VhostUserOffer()
    private var questions = 0

    /// Sends the first message.
    init(_ connection: VhostUserConnection, needs: VhostUserNeeds, channel: VhostUserChannel?) throws(VhostUserError) {
        self.needs = needs
        self.channel = channel
        try connection.send(VhostUserMessage(.getFeatures))
    }

    /// True when `offer` is complete, and is what the device needs.
    mutating func take(_ answer: VhostUserAnswer, _ connection: VhostUserConnection) throws(VhostUserError) -> Bool {
        switch answer.request {
        case .getFeatures:
            offer.features = answer.number
            guard offer.features & VirtioFeature.version1 != 0 else { throw .tooOld }
            try connection.send(VhostUserMessage(.setOwner))
            guard offer.hasProtocolFeatures else { return try finish() }
            try connection.send(VhostUserMessage(.getProtocolFeatures))
            return false
        case .getProtocolFeatures:
            try negotiate(answer.number, connection)
        case .getQueueCount:
            offer.queues = answer.number
            questions -= 1
        case .getConfiguration:
            offer.configuration = Array(answer.payload)
            questions -= 1
        default: break
        }
        return questions == 0 ? try finish() : false
    }

    private mutating func negotiate(_ known: UInt64, _ connection: VhostUserConnection) throws(VhostUserError) {
        var wanted = VhostUserFeature.multiQueue | VhostUserFeature.replyAcknowledge
        if needs.configurationSize > 0 { wanted |= VhostUserFeature.configuration }
        if channel != nil { wanted |= VhostUserFeature.backEndChannel }
        if needs.replays { wanted |= VhostUserFeature.inflight }
        let inUse = known & wanted
        offer.protocolFeatures = inUse
        try connection.send(VhostUserMessage(.setProtocolFeatures, inUse))
        connection.acknowledges = inUse & VhostUserFeature.replyAcknowledge != 0
        if inUse & VhostUserFeature.multiQueue != 0 {
            questions += 1
            try connection.send(VhostUserMessage(.getQueueCount))
        }
        if inUse & VhostUserFeature.backEndChannel != 0, let channel, let descriptor = channel.farDescriptor {
            var message = VhostUserMessage(.setBackEndChannel)
            message.attach(descriptor)
            try connection.send(message)
            channel.closeFarEnd()
        }
        if inUse & VhostUserFeature.configuration != 0 {
            questions += 1
            try connection.send(VhostUserMessage.getConfiguration(count: needs.configurationSize))
        }
    }

    private func finish() throws(VhostUserError) -> Bool {
        if let queues = offer.queues, queues < needs.queues { throw .tooFewQueues(offered: queues, needed: Int(clamping: needs.queues)) }
        guard offer.configuration.count == needs.configurationSize else { throw .noConfiguration }
        try needs.check(offer)
        return true
    }
}
