/// What a network device sends to and receives from. Belongs to one device at a time; its descriptors are closed with it.
public final class NetBackend: Sendable {
    enum Kind: Sendable {
        case tap(TapBackend)
        /// Frames over a stream socket, to and from another process.
        case stream(StreamLink)
    }

    /// The `-netdev` it came from, for messages.
    public let name: String
    let kind: Kind

    init(name: String, _ kind: Kind) {
        self.name = name
        self.kind = kind
    }

    /// Queue pairs that it serves.
    public var queueCount: Int {
        switch kind {
        case .tap(let tap): tap.queues.count
        case .stream: 1
        }
    }

    public var usesVhost: Bool { !vhost.isEmpty }

    /// There is somebody to send to. A tap is there always.
    public var hasCarrier: Bool {
        switch kind {
        case .tap: true
        case .stream(let link): link.isConnected
        }
    }

    /// What it does for the driver, or takes from it, of checksums and segments: a peer behind a stream gets whole frames.
    var offloads: UInt64 {
        switch kind {
        case .tap(let tap): NetFeature.offloads | (tap.hasUFO ? NetFeature.udpFragmentation : 0)
        case .stream: 0
        }
    }

    var tap: TapBackend? { if case .tap(let tap) = kind { tap } else { nil } }

    /// What queue pair `number` is connected to now; nil: to nothing.
    func port(_ number: Int) -> NetPort? {
        switch kind {
        case .tap(let tap): tap.queues.dropFirst(number).first.map { .tap($0) }
        case .stream(let link): number == 0 ? link.stream.map { .stream($0) } : nil
        }
    }
}

/// What a queue pair is connected to.
enum NetPort: Sendable {
    case tap(TapQueue)
    case stream(FrameStream)

    /// Watched by the receiving half, on its loop.
    var receiveDescriptor: Int32 {
        switch self {
        case .tap(let tap): tap.receiveDescriptor
        case .stream(let stream): stream.receiveDescriptor
        }
    }

    /// Watched by the transmitting half, on its loop.
    var transmitDescriptor: Int32 {
        switch self {
        case .tap(let tap): tap.transmitDescriptor
        case .stream(let stream): stream.transmitDescriptor
        }
    }

    /// Nothing more can be read.
    var hasFailed: Bool {
        switch self {
        case .tap(let tap): tap.hasFailed
        case .stream(let stream): stream.hasFailed
        }
    }

    /// True the first time.
    func noteFailure() -> Bool {
        switch self {
        case .tap(let tap): tap.noteFailure()
        case .stream(let stream): stream.fail(.hungUp)
        }
    }

    /// Throws away what has come while nobody wanted it. Nobody may be reading.
    func discardWaiting() {
        switch self {
        case .tap(let tap): tap.discardWaiting()
        case .stream(let stream): stream.reader.discardWaiting()
        }
    }

    static func areSame(_ one: NetPort?, _ other: NetPort?) -> Bool {
        switch (one, other) {
        case (.tap(let one)?, .tap(let other)?): one === other
        case (.stream(let one)?, .stream(let other)?): one === other
        case (nil, nil): true
        default: false
        }
    }
}
