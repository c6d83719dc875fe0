/// Everything the command line says about one virtual machine: a plain value. No file has been opened and no device exists yet.
public struct VmConfig: Equatable, Sendable {
    /// The guest's name, at most 255 bytes.
    public var name: String?
    public var machine = Machine()
    public var processors = Processors()
    public var memory = Memory()
    public var boot: Boot
    /// Where QMP listens.
    public var monitors: [MonitorAddress] = []
    /// What the serial port is connected to; nil when there is no serial port.
    public var serial: Chardev?
    /// Character devices other than those that `-serial` and `-mon` took.
    public var chardevs: [Chardev] = []
    public var drives: [Drive] = []
    /// In command line order, which decides addresses and interrupts.
    public var devices: [Device] = []
    /// The vCPUs stay paused until the QMP command `cont` (`-S`).
    public var startsPaused = false
    /// The user asked for no seccomp filter. This version installs none.
    public var isSeccompDisabled = false
    public var log = LogTarget.standardError

    public init(kernel: String) {
        boot = Boot(kernel: kernel)
    }
}

extension VmConfig {
    /// As in StratoVirt.
    public static let maximumCPUs: UInt64 = 254
    /// Bytes.
    public static let memoryLimits: ClosedRange<UInt64> = (128 << 20)...(512 << 30)

    public struct Machine: Equatable, Sendable {
        public enum Kind: Equatable, Sendable { case microvm }

        public var kind = Kind.microvm
        /// Whether guest memory is part of a core dump.
        public var dumpGuestCore = true
        /// Whether guest memory can be shared with other processes.
        public var memShare = false

        public init() {}
    }

    /// Number and topology of the vCPUs. The parser has derived what the user left out; sockets x dies x clusters x cores x threads is `maximum`.
    public struct Processors: Equatable, Sendable {
        /// vCPUs present at boot, 1 to 254.
        public var count: UInt32 = 1
        public var maximum: UInt32 = 1
        public var sockets: UInt32 = 1
        public var dies: UInt32 = 1
        public var clusters: UInt32 = 1
        public var cores: UInt32 = 1
        public var threads: UInt32 = 1

        public init() {}
    }

    public struct Memory: Equatable, Sendable {
        /// Bytes, a multiple of 4096.
        public var size: UInt64 = 256 << 20
        /// Bytes, at least `size`; nil when the user named none.
        public var maximum: UInt64?

        public init() {}
    }

    public struct Boot: Equatable, Sendable {
        public var kernel: String
        public var initrd: String?
        /// The values of `-append` joined by a space.
        public var kernelArguments = ""

        public init(kernel: String) { self.kernel = kernel }
    }

    /// An address that QMP listens on.
    public enum MonitorAddress: Equatable, Sendable {
        case unix(path: String)
        /// `host` is a numeric address.
        case tcp(host: String, port: UInt16)
    }

    public struct Chardev: Equatable, Sendable {
        public enum Backend: Equatable, Sendable {
            case stdio
            case pty
            /// Output only.
            case file(path: String)
            /// A unix socket server that does not wait for its client.
            case socket(path: String)
        }

        /// `serial_chardev` for one that `-serial` made.
        public var id: String
        public var backend: Backend

        public init(id: String, backend: Backend) {
            self.id = id
            self.backend = backend
        }
    }

    public struct Drive: Equatable, Sendable {
        public enum AsyncIO: Equatable, Sendable {
            /// The user named none: io_uring where the host has it, else threads.
            case automatic
            case ioUring
            case threads
        }

        public var id: String
        /// A raw image: regular file or block device.
        public var file: String
        public var isReadOnly = false
        /// Bypass the host's page cache (O_DIRECT).
        public var isDirect = true
        public var asyncIO = AsyncIO.automatic
        /// The guest's discards and writes of zeroes are passed to the file.
        public var discards = false

        public init(id: String, file: String) {
            self.id = id
            self.file = file
        }
    }

    public enum Device: Equatable, Sendable {
        case virtioBlock(VirtioBlock)
    }

    public struct VirtioBlock: Equatable, Sendable {
        public var id: String?
        /// The id of a drive, which no other device uses.
        public var drive: String
        /// At most 20 bytes.
        public var serial: String?

        public init(drive: String) { self.drive = drive }
    }

    public enum LogTarget: Equatable, Sendable {
        case standardError
        case file(path: String)
    }
}
