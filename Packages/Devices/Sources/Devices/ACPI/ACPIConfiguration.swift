/// What the ACPI tables describe: a value that the machine fills in once its devices are placed.
public struct ACPIConfiguration: Equatable, Sendable {
    /// A virtio-mmio device: the register window and its interrupt.
    public struct VirtioMMIODevice: Equatable, Sendable {
        /// First byte of the register window, below 4 GiB.
        public var base: UInt64
        /// Bytes in the window, 0x200 for every device of the sysbus.
        public var size: UInt64
        /// Global system interrupt, edge triggered.
        public var gsi: UInt32

        public init(base: UInt64, size: UInt64 = 0x200, gsi: UInt32) {
            self.base = base
            self.size = size
            self.gsi = gsi
        }
    }

    /// A NUMA node: processors, and memory that is near to them.
    public struct Node: Equatable, Sendable {
        public struct Range: Equatable, Sendable {
            /// Guest physical address.
            public var base: UInt64
            /// Bytes.
            public var size: UInt64

            public init(base: UInt64, size: UInt64) {
                self.base = base
                self.size = size
            }
        }

        /// The proximity domain.
        public var number: UInt32
        /// Among `ACPIConfiguration.apicIDs`.
        public var apicIDs: [UInt32]
        public var memory: [Range]
        /// To the memory of each node, in the order of `ACPIConfiguration.nodes`: 10 to itself, else more.
        public var distances: [UInt8]

        public init(number: UInt32, apicIDs: [UInt32], memory: [Range], distances: [UInt8]) {
            self.number = number
            self.apicIDs = apicIDs
            self.memory = memory
            self.distances = distances
        }
    }

    /// Local APIC ids of the vCPUs, 1...254 of them, each up to 254; the first is the one that boots.
    public var apicIDs: [UInt32]
    /// In the order in which the guest is to find them.
    public var devices: [VirtioMMIODevice]
    /// Without them there is neither SRAT nor SLIT.
    public var nodes: [Node] = []
    /// The 16550A at 0x3f8, GSI 4.
    public var hasSerial = true
    /// The MC146818 at 0x70, GSI 8.
    public var hasRTC = true
    /// The GED with the power button, at ``PowerButton/registerBase`` and ``PowerButton/gsi``.
    public var hasPowerButton = true
    /// Guest physical address of the image. The RSDP comes first, 16-byte aligned, so that a kernel which is not told the
    /// address finds it by scanning 0xE0000...0xFFFFF (ACPI 6.5 section 5.2.5.1).
    public var baseAddress: UInt64 = 0xE0000
    /// Bytes that the image may take.
    public var limit = 0x20000

    public init(apicIDs: [UInt32], devices: [VirtioMMIODevice]) {
        self.apicIDs = apicIDs
        self.devices = devices
    }
}

/// Why no tables could be built.
public enum ACPIError: Error, Equatable, Sendable, CustomStringConvertible {
    /// MADT entries of type 0 hold 8-bit APIC ids, and 255 is broadcast.
    case cpuCountOutOfRange(Int)
    case apicIDOutOfRange(UInt32)
    /// Memory32Fixed cannot express the window of the device with this index.
    case deviceAbove4GiB(index: Int)
    /// The base address is not a multiple of 16, or base + limit passes 4 GiB.
    case baseAddressInvalid(UInt64)
    /// A node has a number above 127, that of another one, or not as many distances as there are nodes.
    case nodeInvalid(UInt32)
    case imageTooLarge(size: Int, limit: Int)

    public var description: String {
        switch self {
        case .cpuCountOutOfRange(let count): "ACPI tables can describe 1 to 254 CPUs, not \(count)"
        case .apicIDOutOfRange(let id): "ACPI tables cannot describe the APIC id \(id): the largest is 254"
        case .deviceAbove4GiB(let index): "virtio-mmio device \(index) does not fit below 4 GiB, as ACPI requires"
        case .baseAddressInvalid(let base): "ACPI tables cannot be placed at 0x\(String(base, radix: 16))"
        case .nodeInvalid(let number): "ACPI tables cannot describe NUMA node \(number)"
        case .imageTooLarge(let size, let limit): "ACPI tables take \(size) bytes, more than the \(limit) reserved for them"
        }
    }
}
