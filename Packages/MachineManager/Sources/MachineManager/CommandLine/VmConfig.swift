/// Everything the command line says about one virtual machine: a plain value. No file has been opened and no device exists yet.
///
/// The parser has checked each value's limits and that every id it names exists.
public struct VmConfig: Equatable, Sendable {
    /// The guest's name, at most 255 bytes.
    public var name: String?
    /// As the user wrote it; nil when that is no UUID (RFC 9562, section 4).
    public var uuid: String?
    public var machine = Machine()
    public var processors = Processors()
    public var cpu = CPU()
    public var memory = Memory()
    public var boot: Boot
    public var process = Process()
    /// Where QMP listens.
    public var monitors: [SocketAddress] = []
    /// What the serial port is connected to; nil when there is no serial port.
    public var serial: Chardev?
    /// Character devices other than those that `-serial` and `-mon` took.
    public var chardevs: [Chardev] = []
    public var drives: [Drive] = []
    public var netdevs: [Netdev] = []
    /// Sources of entropy (`-object rng-random`).
    public var rngSources: [RngSource] = []
    /// Memory of the host that nodes and devices name (`-object memory-backend-*`).
    public var memoryBackends: [MemoryBackend] = []
    /// By number, at most 8 (`-numa node`). Their memory makes up the guest's RAM, in this order.
    public var nodes: [NUMANode] = []
    /// At most 8 (`-object iothread`).
    public var iothreads: [IOThread] = []
    /// In command line order, which decides addresses and interrupts.
    public var devices: [Device] = []
    /// The vCPUs stay paused until the QMP command `cont` (`-S`).
    public var startsPaused = false
    /// In the order in which they came.
    public var traces: [Trace] = []
    /// The user asked for no seccomp filter. This version installs none.
    public var isSeccompDisabled = false

    public init(kernel: String) {
        boot = Boot(kernel: kernel)
    }
}

extension VmConfig {
    /// As in StratoVirt.
    public static let maximumCPUs: UInt64 = 254
    /// Bytes.
    public static let memoryLimits: ClosedRange<UInt64> = (128 << 20)...(512 << 30)
    /// As in StratoVirt.
    public static let maximumIOThreads = 8
    /// How long an iothread looks for work at most before it sleeps, in nanoseconds; and what QEMU's do.
    public static let maximumPolling: UInt64 = 1_000_000
    public static let usualPolling: UInt64 = 32768
    /// Of a network device.
    public static let maximumQueuePairs = 16
    /// Requests a second of a throttled drive.
    public static let maximumIOPS: UInt64 = 1_000_000
    /// Of the virtio-serial device, port 0 among them.
    public static let maximumSerialPorts: UInt64 = 31
    /// 0 to 2 are the hypervisor, the loopback and the host (linux/vm_sockets.h).
    public static let guestCIDs: ClosedRange<UInt64> = 3...0xffff_ffff
    /// Without the last one, which is everybody (VMADDR_CID_ANY).
    public static let socketGuestCIDs: ClosedRange<UInt64> = 3...0xffff_fffe
    /// Bytes a second that a virtio-rng device may be limited to.
    public static let entropyRates: ClosedRange<UInt64> = 64...1_000_000_000

    public struct Machine: Equatable, Sendable {
        public enum Kind: Equatable, Sendable {
            case microvm
            /// No guest at all: the program only answers QMP, by which libvirt learns what it can do.
            case none
        }

        public var kind = Kind.microvm
        /// Whether guest memory is part of a core dump.
        public var dumpGuestCore = true
        /// Whether guest memory can be shared with other processes.
        public var memShare = false
        /// aarch64: nil for the newest that the host has. The parser knows no other than `v3` yet.
        public var gicVersion: GICVersion?
        /// aarch64: where the device tree is to be written to; the machine is then not started.
        public var deviceTreeDump: String?

        public init() {}
    }

    /// Of the guest's interrupt controller on aarch64.
    public enum GICVersion: Equatable, Sendable { case v2, v3 }

    /// What the vCPUs can do on aarch64 besides what all can (`-cpu`).
    public struct CPU: Equatable, Sendable {
        /// Performance counters.
        public var hasPMU = false
        /// The scalable vector extension.
        public var hasSVE = false
        /// The guest sees for how long its vCPUs had to wait for the host's.
        public var hasStealTime = false

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
        /// A file, or a folder for a file without a name (`-mem-path`); nil for memory without a file.
        public var path: String?
        /// All pages are taken before the guest starts (`-mem-prealloc`).
        public var isPreallocated = false

        public init() {}
    }

    public struct Boot: Equatable, Sendable {
        /// Empty for a machine of kind `none`.
        public var kernel: String
        public var initrd: String?
        /// The values of `-append` joined by a space.
        public var kernelArguments = ""

        public init(kernel: String) { self.kernel = kernel }
    }

    /// What the program does with itself.
    public struct Process: Equatable, Sendable {
        /// Goes to the background once the machine runs (`-daemonize`).
        public var daemonizes = false
        /// Set only when `daemonizes` is.
        public var pidFile: String?
        public var log = LogTarget.standardError
        /// There is a `-D`, with or without a file.
        public var isLogRequested = false

        public init() {}
    }

    public enum LogTarget: Equatable, Sendable {
        case standardError
        case file(path: String)
    }
}
