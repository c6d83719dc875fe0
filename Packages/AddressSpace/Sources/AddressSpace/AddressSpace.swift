internal import Synchronization

/// A guest physical address space, or the x86 port space: a tree of regions below `root`, and the flat view of it that vCPUs use.
public final class AddressSpace: @unchecked Sendable {
    /// How deep containers and aliases may nest.
    public static let maxDepth = 32
    /// How many regions one rendering may visit; two aliases of one container, 20 times nested, would be a million.
    public static let maxVisits = 16_384

    public let name: String
    /// Bytes (or ports). The address 2^64 - 1 itself belongs to no space.
    public let size: UInt64
    /// The container of everything.
    public let root: Region
    /// The RAM of this space, for devices and loaders.
    public let memory: GuestMemory
    let publisher: ViewPublisher
    /// Guarded by Topology.
    var listeners: [any AddressSpaceListener] = []
    private let softwareEvents = Atomic<Bool>(false)

    /// An empty space. A space of size 0 refuses every region.
    public init(name: String, size: UInt64) {
        self.name = name
        self.size = size
        root = Region(name: name, size: size, kind: .container)
        publisher = ViewPublisher(FlatView())
        memory = GuestMemory(publisher: publisher)
        root.space = self
    }

    /// Makes all changes of `body` one: views are rebuilt and listeners told once, at the outermost end. Transactions
    /// nest, may span several address spaces, and block other threads' transactions meanwhile. When `body`, the
    /// rendering or a listener throws, all of it is taken back (an inner transaction takes back its own part).
    public func transaction(_ body: () throws(AddressSpaceError) -> Void) throws(AddressSpaceError) {
        try Topology.shared.transaction(body)
    }

    /// Whether `write` itself signals ioeventfds. False (the default) where the hypervisor does it and such writes
    /// never get here; true for a hypervisor without ioeventfds. Any thread.
    public var matchesIOEventFDsInSoftware: Bool {
        get { softwareEvents.load(ordering: .relaxed) }
        set { softwareEvents.store(newValue, ordering: .relaxed) }
    }

    /// The current flat view, sorted by base. Takes the topology lock: for start-up, tests and debugging.
    public func flatRanges() -> [FlatRange] {
        var ranges: [FlatRange] = []
        Topology.shared.locked { ranges = publisher.current.ranges }
        return ranges
    }

    /// The current ioeventfds, sorted by address. Takes the topology lock.
    public func flatIOEventFDs() -> [IOEventFD] {
        var events: [IOEventFD] = []
        Topology.shared.locked { events = publisher.current.ioEventFDs }
        return events
    }

    /// Memory that was shown once stays mapped, since I/O to it may be in flight (`GuestMemory.hostRange`). Once all devices
    /// have drained their I/O, this unmaps what the view no longer shows; false when a reader was in the way, to be repeated later.
    public func releaseHiddenMemory() -> Bool {
        var done = false
        Topology.shared.locked { done = publisher.forgetHiddenMemory() }
        return done
    }
}
