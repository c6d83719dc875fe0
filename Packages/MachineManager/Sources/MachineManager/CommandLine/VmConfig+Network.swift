extension VmConfig {
    /// What QEMU's number of milliseconds holds.
    static let maximumReconnectSeconds = UInt32.max / 1000

    /// A descriptor that this process has from another one.
    public enum Descriptor: Equatable, Sendable {
        /// It was open when the program started.
        case number(Int32)
        /// A QMP client sent it under this name (getfd).
        case name(String)
    }

    /// What a network device is connected to (`-netdev`, QMP netdev_add).
    public struct Netdev: Equatable, Sendable {
        public enum Backend: Equatable, Sendable {
            case tap(Tap)
            case stream(Stream)
            /// Another program moves the packets. `chardev`: the id of one that is a unix socket that connects, which nothing else uses.
            case vhostUser(chardev: String)
        }

        /// A tap of the host: found by `interface`, made by opening `path`, or given as open descriptors, one for each queue pair.
        public struct Tap: Equatable, Sendable {
            /// At most 15 bytes.
            public var interface: String?
            /// A character device other than /dev/net/tun.
            public var path: String?
            public var descriptors: [Descriptor] = []
            /// The kernel moves the packets (vhost-net).
            public var vhost = false
            /// Open descriptors of /dev/vhost-net, one for each queue pair; empty to open it. Only with `vhost`.
            public var vhostDescriptors: [Descriptor] = []

            public init() {}
        }

        /// Frames over a stream socket to another process.
        public struct Stream: Equatable, Sendable {
            public enum Address: Equatable, Sendable {
                case unix(path: String)
                /// `host` is a numeric IPv4 or IPv6 address.
                case inet(host: String, port: UInt16)
                /// A socket that is open: connected, or listening when `isServer` is set.
                case descriptor(Descriptor)
            }

            public var address: Address
            /// Listens; else it connects.
            public var isServer = false
            /// Milliseconds between attempts of a client to find its peer; 0: none after the first.
            public var reconnect: UInt32 = 0

            public init(address: Address) { self.address = address }
        }

        public var id: String
        /// Queue pairs, 1 to 16.
        public var queues: Int
        public var backend: Backend

        public init(id: String, queues: Int = 1, backend: Backend) {
            self.id = id
            self.queues = queues
            self.backend = backend
        }
    }
}
