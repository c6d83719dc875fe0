public import LinuxSys

extension VmConfig {
    /// A device of the guest. Ids are unique among devices; where the user gave none, the parser made one.
    public enum Device: Equatable, Sendable {
        case virtioBlock(VirtioBlock)
        case virtioNet(VirtioNet)
        case virtioSerial(VirtioSerial)
        /// A port of the one `virtioSerial` there is.
        case serialPort(SerialPort)
        case virtioRng(VirtioRng)
        case virtioBalloon(VirtioBalloon)
        case vhostVsock(VhostVsock)
        case virtioVsock(VirtioVsock)
        case vhostUserFileSystem(VhostUserFileSystem)
        case virtioMem(VirtioMem)
        case virtioPmem(VirtioPmem)
        case vhostUserBlock(VhostUserBlock)

        public var id: String {
            switch self {
            case .virtioBlock(let device): device.id
            case .virtioNet(let device): device.id
            case .virtioSerial(let device): device.id
            case .serialPort(let device): device.id
            case .virtioRng(let device): device.id
            case .virtioBalloon(let device): device.id
            case .vhostVsock(let device): device.id
            case .virtioVsock(let device): device.id
            case .vhostUserFileSystem(let device): device.id
            case .virtioMem(let device): device.id
            case .virtioPmem(let device): device.id
            case .vhostUserBlock(let device): device.id
            }
        }
    }

    public struct VirtioBlock: Equatable, Sendable {
        public var id: String
        /// The id of a drive, which no other device uses.
        public var drive: String
        /// At most 20 bytes.
        public var serial: String?
        /// 1 to 32.
        public var queueCount: UInt16 = 1
        /// Of each queue; a power of two, 4 to 1024.
        public var queueSize: UInt16 = 256
        public var iothread: String?

        /// A device without an id of its own has the drive's.
        public init(id: String? = nil, drive: String) {
            self.id = id ?? drive
            self.drive = drive
        }
    }

    public struct VirtioNet: Equatable, Sendable {
        public var id: String
        /// The id of a netdev, which no other device uses.
        public var netdev: String
        /// Not a multicast address, not zero; nil: the machine chooses one.
        public var mac: MACAddress?
        /// Serves the control queue, and the others that have no iothread of their own.
        public var iothread: String?
        public var rxIOThread: String?
        public var txIOThread: String?
        /// Offers VIRTIO_NET_F_MQ with as many queue pairs as the netdev has.
        public var isMultiQueue = false
        /// Of each data queue; a power of two, 256 to 4096.
        public var queueSize: UInt16 = 256

        /// A device without an id of its own has the netdev's.
        public init(id: String? = nil, netdev: String) {
            self.id = id ?? netdev
            self.netdev = netdev
        }
    }

    /// The device that `SerialPort`s belong to; at most one.
    public struct VirtioSerial: Equatable, Sendable {
        public var id: String
        /// 1 to 31.
        public var maximumPorts: UInt32 = 31

        public init(id: String) { self.id = id }
    }

    public struct SerialPort: Equatable, Sendable {
        public enum Kind: Equatable, Sendable {
            /// `virtconsole`: /dev/hvcN of the guest.
            case console
            /// `virtserialport`: /dev/vportNpM of the guest.
            case generic
        }

        public var id: String
        public var kind: Kind
        /// The id of a chardev, which nothing else uses.
        public var chardev: String
        /// Below the device's number of ports, and unique; never 0 for a generic port.
        public var number: UInt32
        /// The guest sees it under /dev/virtio-ports.
        public var name: String?

        public init(id: String, kind: Kind, chardev: String, number: UInt32) {
            self.id = id
            self.kind = kind
            self.chardev = chardev
            self.number = number
        }
    }

    public struct VirtioRng: Equatable, Sendable {
        public var id: String
        /// The id of a source of entropy.
        public var rng: String
        /// Bytes that the guest gets in `period` at most; both or neither are there.
        public var maximumBytes: UInt64?
        /// Milliseconds.
        public var period: UInt64?

        public init(id: String, rng: String) {
            self.id = id
            self.rng = rng
        }
    }

    /// At most one.
    public struct VhostVsock: Equatable, Sendable {
        public var id: String
        /// 3 to 2^32 - 1.
        public var guestCID: UInt64
        /// An open descriptor of /dev/vhost-vsock; nil to open it.
        public var descriptor: Int32?

        public init(id: String, guestCID: UInt64, descriptor: Int32? = nil) {
            self.id = id
            self.guestCID = guestCID
            self.descriptor = descriptor
        }
    }

    /// In place of a `VhostVsock`: at most one of the two.
    public struct VirtioVsock: Equatable, Sendable {
        public var id: String
        /// 3 to 2^32 - 2.
        public var guestCID: UInt64
        /// Where programs of the host connect; theirs are at this path, `_` and a port. At most 96 bytes.
        public var path: String
        public var iothread: String?

        public init(id: String, guestCID: UInt64, path: String, iothread: String? = nil) {
            self.id = id
            self.guestCID = guestCID
            self.path = path
            self.iothread = iothread
        }
    }

    public struct VhostUserFileSystem: Equatable, Sendable {
        public var id: String
        /// The id of a chardev, a unix socket that connects, which nothing else uses.
        public var chardev: String
        /// What the guest mounts it by: 1 to 36 bytes.
        public var tag: String

        public init(id: String, chardev: String, tag: String) {
            self.id = id
            self.chardev = chardev
            self.tag = tag
        }
    }

    /// A disk that another program serves.
    public struct VhostUserBlock: Equatable, Sendable {
        public var id: String
        /// The id of a chardev, a unix socket that connects, which nothing else uses.
        public var chardev: String
        /// 1 to 32; nil: one for each vCPU, or as many as the program has.
        public var queues: Int?
        /// Entries of each queue: a power of two, 4 to 1024.
        public var queueSize: UInt16 = 256

        public init(id: String, chardev: String) {
            self.id = id
            self.chardev = chardev
        }
    }

    /// A thread that serves devices (`-object iothread`).
    public struct IOThread: Equatable, Sendable {
        public var id: String
        /// Nanoseconds that it looks for work at most before it sleeps.
        public var polling: UInt64

        public init(id: String, polling: UInt64 = VmConfig.usualPolling) {
            self.id = id
            self.polling = polling
        }
    }

    /// A file that gives entropy (`-object rng-random`).
    public struct RngSource: Equatable, Sendable {
        public var id: String
        public var filename: String

        public init(id: String, filename: String) {
            self.id = id
            self.filename = filename
        }
    }
}
