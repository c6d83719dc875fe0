public import Hypervisor
internal import Synchronization

/// What a `TestVirtualMachine` pretends to be on aarch64, and what it was given.
public struct TestAArch64Machine: Equatable, Sendable {
    /// The interrupt controller that `createGIC` gives; without an ITS where the layout has none.
    public var gicKind = GICKind.v3(hasITS: true)
    /// What `createGIC` throws.
    public var gicError: HypervisorError?
    public var hasPMU = true
    public var hasSVE = true
    public var hasStolenTime = true
    public var physicalAddressBits = 40
    /// What `createGIC` was given.
    public var gic: GICLayout?

    public init() {}
}

extension TestVirtualMachine: AArch64VirtualMachine {
    /// To be prepared, or looked at.
    public var aarch64Machine: TestAArch64Machine {
        get { state.withLock { $0.aarch64 } }
        set { state.withLock { $0.aarch64 = newValue } }
    }

    /// As KVM, refuses what comes too early, too late or twice.
    public func createGIC(_ layout: GICLayout, vcpus: Int) throws(HypervisorError) -> GICKind {
        let (machine, cpus, lines) = state.withLock { ($0.aarch64, $0.vcpus, $0.lines) }
        if let error = machine.gicError { throw error }
        guard machine.gic == nil, lines.isEmpty else { throw .unsupported("an interrupt controller made twice, or after an interrupt line") }
        guard cpus.count == vcpus, cpus.allSatisfy({ $0.aarch64State.isInitialized }) else {
            throw .unsupported("an interrupt controller before all vCPUs are initialized")
        }
        state.withLock { $0.aarch64.gic = layout }
        log.add(.gic(layout, vcpus: vcpus))
        if case .v3(hasITS: true) = machine.gicKind, layout.its == nil { return .v3(hasITS: false) }
        return machine.gicKind
    }

    public var hasPMU: Bool { aarch64Machine.hasPMU }
    public var hasSVE: Bool { aarch64Machine.hasSVE }
    public var hasStolenTime: Bool { aarch64Machine.hasStolenTime }
    public var physicalAddressBits: Int { aarch64Machine.physicalAddressBits }
}
