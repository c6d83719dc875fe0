extension VmConfig {
    /// Bytes.
    public static let memoryBackendSizes: ClosedRange<UInt64> = 4096...(512 << 30)
    /// NUMA nodes, of the host and of the guest. As in StratoVirt.
    public static let nodeNumbers: ClosedRange<UInt64> = 0...127
    /// Bytes; those that a processor has are powers of two between these.
    public static let hugePageSizes: ClosedRange<UInt64> = (64 << 10)...(16 << 30)

    /// Memory of the host that something of the guest's is made of (`-object memory-backend-*`), each of one thing at most.
    public struct MemoryBackend: Equatable, Sendable {
        public enum Kind: Equatable, Sendable {
            case ram
            /// In a file that there is or will be, or in one without a name in a folder. A folder on hugetlbfs gives huge pages.
            case file(path: String)
            case memfd
            /// A memfd of huge pages: of so many bytes, or of the host's default size.
            case hugePages(size: UInt64?)
        }

        /// Which of the host's NUMA nodes give the pages: mbind(2).
        public enum Policy: Equatable, Sendable { case standard, preferred, bind, interleave }

        public var id: String
        public var kind: Kind
        /// Bytes, a multiple of 4096.
        public var size: UInt64
        /// Other processes can map it; of a file: it holds what the guest writes.
        public var isShared: Bool
        public var policy = Policy.standard
        /// Ascending numbers of the host's nodes. Not empty unless the policy is `standard`, which does not heed them.
        public var hostNodes: [UInt64] = []
        /// All pages are taken before the guest starts.
        public var isPreallocated = false
        /// Nobody writes to the file, and the guest cannot.
        public var isReadOnly = false
        /// Part of a core dump, if the rest of the guest's memory is.
        public var isDumped = true

        public init(id: String, kind: Kind, size: UInt64, isShared: Bool) {
            self.id = id
            self.kind = kind
            self.size = size
            self.isShared = isShared
        }

        /// The object as on the command line.
        public var option: String {
            switch kind {
            case .ram: "-object memory-backend-ram,id=\(id)"
            case .file: "-object memory-backend-file,id=\(id)"
            case .memfd, .hugePages: "-object memory-backend-memfd,id=\(id)"
            }
        }
    }
}

extension VmConfig {
    /// The ids of the memory backends that something is made of.
    var memoryBackendsInUse: [String] { nodes.compactMap(\.memory) + devices.compactMap(\.memdev) }
}

extension VmConfig.MemoryBackend {
    init(_ list: ParameterList) throws(CommandLineError) {
        let kind: Kind =
            switch list.variant {
            case "memory-backend-file": .file(path: list.text("mem-path") ?? "")
            case "memory-backend-memfd": list.bool("hugetlb", default: false) ? .hugePages(size: list.number("hugetlbsize")) : .memfd
            default: .ram
            }
        self.init(id: list.text("id") ?? "", kind: kind, size: list.number("size") ?? 0, isShared: list.bool("share", default: kind != .ram))
        hostNodes = list.numbers("host-nodes") ?? []
        policy =
            switch list.text("policy") {
            case "preferred": .preferred
            case "bind": .bind
            case "interleave": .interleave
            default: .standard
            }
        isPreallocated = list.bool("mem-prealloc", default: false) || list.bool("prealloc", default: false)
        isDumped = list.bool("dump-guest-core", default: true)
        isReadOnly = list.bool("readonly", default: false)
        if isReadOnly, isPreallocated { throw list.invalid("readonly=on and prealloc=on exclude each other") }
        guard size % 4096 == 0 else { throw list.invalid("size= must be a multiple of 4K") }
        guard policy == .standard || !hostNodes.isEmpty else { throw list.invalid("policy=\(list.text("policy") ?? "") needs host-nodes=") }
        if let page = list.number("hugetlbsize") {
            guard page.nonzeroBitCount == 1 else { throw list.invalid("hugetlbsize= must be a power of two") }
            guard case .hugePages = kind else { throw list.invalid("hugetlbsize= needs hugetlb=on") }
            guard size % page == 0 else { throw list.invalid("size= must be a multiple of hugetlbsize=") }
        }
    }
}
