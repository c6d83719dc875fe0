public import AddressSpace
public import Hypervisor
internal import LinuxSys
internal import Synchronization

/// A virtual machine without a kernel behind it: records what it is told. Any thread.
public final class TestVirtualMachine: VirtualMachine {
    struct State {
        var hasIRQChip = false
        var aarch64 = TestAArch64Machine()
        var lines: [TestInterruptLine] = []
        var vcpus: [TestVirtualCPU] = []
        var scripts: [UInt32: [TestVirtualCPU.Step]] = [:]
        var statistics: [HypervisorStatistic] = []
    }

    let state = Mutex(State())
    let log = TestLog()
    /// What the memory space's listener was told.
    public let memory = TestListener()
    /// What the port space's listener was told.
    public let ports = TestListener()

    private let hasEvents: Bool
    private let interruptLines: UInt32

    /// `hasEvents`: the interrupt lines have an eventfd, as KVM's have. `interruptLines`: how many inputs the interrupt controller has, until
    /// `createGIC` gives another number.
    public init(hasEvents: Bool = false, interruptLines: UInt32 = 24) { (self.hasEvents, self.interruptLines) = (hasEvents, interruptLines) }

    /// What was asked of the machine and its vCPUs, in order.
    public var calls: [TestCall] { log.calls }

    public func createIRQChip() throws(HypervisorError) {
        log.add(.irqChip)
        let early = state.withLock { state in
            defer { state.hasIRQChip = true }
            return !state.hasIRQChip && state.vcpus.isEmpty
        }
        if !early { throw .unsupported("interrupt controllers made twice or after the first vCPU") }
    }

    public func makeInterruptLine(gsi: UInt32) throws(HypervisorError) -> any InterruptLine {
        let limit = state.withLock { state in state.aarch64.gic.map { $0.lines > 32 ? $0.lines &- 32 : 0 } } ?? interruptLines
        guard gsi < limit else { throw .noSuchInterruptLine(gsi: gsi, limit: limit) }
        log.add(.interruptLine(gsi: gsi))
        let line = TestInterruptLine(gsi: gsi, hasEvent: hasEvents)
        state.withLock { $0.lines.append(line) }
        return line
    }

    public var aarch64: (any AArch64VirtualMachine)? { self }

    public func memoryListener() -> any AddressSpaceListener { memory }
    public func portListener() -> any AddressSpaceListener { ports }

    public func createVCPU(id: UInt32) throws(HypervisorError) -> any VirtualCPU {
        log.add(.createVCPU(id: id))
        let vcpu = TestVirtualCPU(id: id, script: state.withLock { $0.scripts[id] ?? [] }, log: log)
        state.withLock { $0.vcpus.append(vcpu) }
        return vcpu
    }

    /// Gives a script to the vCPU that will be made with `id`.
    public func setScript(_ script: [TestVirtualCPU.Step], forVCPU id: UInt32) { state.withLock { $0.scripts[id] = script } }

    public func statistics() -> [HypervisorStatistic] { state.withLock { $0.statistics } }
    public func setStatistics(_ statistics: [HypervisorStatistic]) { state.withLock { $0.statistics = statistics } }

    public var hasIRQChip: Bool { state.withLock { $0.hasIRQChip } }
    /// In the order in which they were made.
    public var lines: [TestInterruptLine] { state.withLock { $0.lines } }
    public var vcpus: [TestVirtualCPU] { state.withLock { $0.vcpus } }
}

/// An interrupt line that counts.
public final class TestInterruptLine: InterruptLine {
    public let gsi: UInt32
    private let state = Mutex((pulses: 0, level: false, rises: 0))

    private let event: EventFD?

    /// `hasEvent`: whoever writes to `eventDescriptor` adds to `events`. Without descriptors to spare there is none.
    public init(gsi: UInt32, hasEvent: Bool = false) {
        self.gsi = gsi
        event = hasEvent ? try? EventFD() : nil
    }

    public var eventDescriptor: Int32? { event?.raw }

    /// How often `eventDescriptor` was written to since the last call.
    public func takeEvents() -> UInt64 { event?.drain() ?? 0 }

    public func pulse() { state.withLock { $0.pulses += 1 } }

    public func set(level: Bool) {
        state.withLock { state in
            if level, !state.level { state.rises += 1 }
            state.level = level
        }
    }

    public var pulses: Int { state.withLock { $0.pulses } }
    public var level: Bool { state.withLock { $0.level } }
    /// How often the level went from low to high.
    public var rises: Int { state.withLock { $0.rises } }
}

/// An address space listener that remembers what is there.
public final class TestListener: AddressSpaceListener {
    private let state = Mutex((ranges: [FlatRange](), events: [IOEventFD](), calls: 0))

    public init() {}

    public func regionsChanged(removed: [FlatRange], added: [FlatRange]) throws(AddressSpaceError) {
        state.withLock { state in
            state.ranges.removeAll { range in removed.contains(range) }
            state.ranges.append(contentsOf: added)
            state.ranges.sort { $0.base < $1.base }
            state.calls += 1
        }
    }

    public func ioEventFDsChanged(removed: [IOEventFD], added: [IOEventFD]) throws(AddressSpaceError) {
        state.withLock { state in
            state.events.removeAll { event in removed.contains(event) }
            state.events.append(contentsOf: added)
            state.calls += 1
        }
    }

    /// Sorted by base.
    public var ranges: [FlatRange] { state.withLock { $0.ranges } }
    public var ioEventFDs: [IOEventFD] { state.withLock { $0.events } }
    /// How many changes were told.
    public var calls: Int { state.withLock { $0.calls } }
}
