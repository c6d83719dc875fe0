extension VmConfig {
    /// Bytes; powers of two.
    public static let memoryBlockSizes: ClosedRange<UInt64> = (2 << 20)...(512 << 30)
    /// Bytes of which persistent memory has a multiple.
    public static let persistentMemoryUnit: UInt64 = 2 << 20

    /// Memory that the guest takes and gives back in blocks.
    public struct VirtioMem: Equatable, Sendable {
        public enum UnpluggedAccess: Equatable, Sendable {
            /// The guest is told to keep away from what it does not have.
            case automatic
            /// A driver that cannot be told gets nothing.
            case inaccessible
            case accessible
        }

        public var id: String
        /// The id of a memory backend, which nothing else uses.
        public var memdev: String
        /// Guest physical address; nil: the machine chooses.
        public var address: UInt64?
        /// Bytes, a power of two; nil: the machine chooses.
        public var blockSize: UInt64?
        /// Bytes that the guest is to have when it starts.
        public var requestedSize: UInt64 = 0
        /// The guest's NUMA node.
        public var node: UInt16?
        public var unpluggedAccess = UnpluggedAccess.automatic

        public init(id: String, memdev: String) {
            self.id = id
            self.memdev = memdev
        }
    }

    /// A file as persistent memory.
    public struct VirtioPmem: Equatable, Sendable {
        public var id: String
        /// The id of a memory backend that is a file, which nothing else uses. Its size is a multiple of `persistentMemoryUnit`.
        public var memdev: String
        /// Guest physical address, a multiple of `persistentMemoryUnit`; nil: the machine chooses.
        public var address: UInt64?

        public init(id: String, memdev: String) {
            self.id = id
            self.memdev = memdev
        }
    }
}

extension VmConfig.Device {
    /// The id of the memory backend that the device is made of.
    public var memdev: String? {
        switch self {
        case .virtioMem(let device): device.memdev
        case .virtioPmem(let device): device.memdev
        default: nil
        }
    }
}

extension VmConfigBuilder {
    mutating func addMemory(_ list: ParameterList, _ id: String) throws(CommandLineError) {
        let backend = try takeMemoryBackend(list)
        var device = VmConfig.VirtioMem(id: id, memdev: backend.id)
        device.address = list.number("memaddr")
        device.blockSize = list.number("block-size")
        device.requestedSize = list.number("requested-size") ?? 0
        if let block = device.blockSize, block.nonzeroBitCount != 1 { throw list.invalid("block-size= must be a power of two") }
        if let node = list.number("node") {
            guard config.nodes.contains(where: { UInt64($0.number) == node }) else { throw list.invalid("there is no -numa node with nodeid \(node)") }
            device.node = UInt16(clamping: node)
        }
        device.unpluggedAccess =
            switch list.text("unplugged-inaccessible") {
            case "on": .inaccessible
            case "off": .accessible
            default: .automatic
            }
        config.devices.append(.virtioMem(device))
    }

    mutating func addPersistentMemory(_ list: ParameterList, _ id: String) throws(CommandLineError) {
        let backend = try takeMemoryBackend(list, allowsReadOnly: true)
        guard case .file = backend.kind else { throw list.invalid("memory backend \(quoted(backend.id)) must be a memory-backend-file") }
        guard backend.size % VmConfig.persistentMemoryUnit == 0 else {
            throw list.invalid("the size of memory backend \(quoted(backend.id)) must be a multiple of \(sizeText(VmConfig.persistentMemoryUnit))")
        }
        var device = VmConfig.VirtioPmem(id: id, memdev: backend.id)
        device.address = list.number("memaddr")
        config.devices.append(.virtioPmem(device))
    }
}
