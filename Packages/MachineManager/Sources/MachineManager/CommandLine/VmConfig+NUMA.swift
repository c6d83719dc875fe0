extension VmConfig {
    /// As in StratoVirt.
    public static let maximumNodes = 8
    /// Of a node to itself (ACPI 6.5, section 5.2.17).
    public static let localDistance: UInt8 = 10
    /// Between two nodes for which the user gives none.
    public static let remoteDistance: UInt8 = 20

    /// A NUMA node of the guest (`-numa node`): some of its vCPUs, and memory that is near to them.
    public struct NUMANode: Equatable, Sendable {
        public struct Distance: Equatable, Sendable {
            /// Another node's number.
            public var node: UInt32
            /// 11 to 255, which is out of reach.
            public var value: UInt8

            public init(to node: UInt32, _ value: UInt8) {
                self.node = node
                self.value = value
            }
        }

        /// 0 to 127.
        public var number: UInt32
        /// Ascending.
        public var cpus: [UInt32] = []
        /// The id of the memory backend that is its memory; nil when it has only vCPUs.
        public var memory: String?
        /// Those that the user gave (`-numa dist`).
        public var distances: [Distance] = []

        public init(number: UInt32) { self.number = number }

        /// From a processor here to memory there.
        public func distance(to other: UInt32) -> UInt8 {
            other == number ? localDistance : distances.first { $0.node == other }?.value ?? remoteDistance
        }
    }

    /// The memory that the guest's RAM consists of, by the numbers of the nodes; empty when there are none.
    public var nodeMemory: [MemoryBackend] {
        nodes.compactMap { node in memoryBackends.first { $0.id == node.memory } }
    }

    /// Whether other processes can map all of the guest's RAM.
    public var isMemoryShared: Bool { nodes.isEmpty ? machine.memShare : nodeMemory.allSatisfy(\.isShared) }

    /// The number of the node that a vCPU belongs to; nil without nodes.
    public func node(ofCPU cpu: UInt32) -> UInt32? { nodes.first { $0.cpus.contains(cpu) }?.number }
}
