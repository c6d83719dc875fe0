internal import LinuxSys

/// How often a vCPU came back from the guest, by reason. All numbers wrap. What KVM handles itself, halts above all, never comes here: see the hypervisor's
/// own statistics.
public struct VCPUExitCounts: Equatable, Sendable {
    /// Ports, halts and shutdowns: x86 only.
    public var portReads: UInt64 = 0
    public var portWrites: UInt64 = 0
    public var mmioReads: UInt64 = 0
    public var mmioWrites: UInt64 = 0
    public var halts: UInt64 = 0
    public var shutdowns: UInt64 = 0
    /// Signals and kicks: nothing happened in the guest.
    public var interruptions: UInt64 = 0
    /// Every other reason.
    public var others: UInt64 = 0

    public init() {}

    public var total: UInt64 {
        [portReads, portWrites, mmioReads, mmioWrites, halts, shutdowns, interruptions, others].reduce(0, &+)
    }
}

/// Added to by the vCPU's thread, read by any.
struct VCPUExitCounters: ~Copyable, Sendable {
    let portReads = Counter()
    let portWrites = Counter()
    let mmioReads = Counter()
    let mmioWrites = Counter()
    let halts = Counter()
    let shutdowns = Counter()
    let interruptions = Counter()
    let others = Counter()

    var counts: VCPUExitCounts {
        var counts = VCPUExitCounts()
        counts.portReads = portReads.value
        counts.portWrites = portWrites.value
        counts.mmioReads = mmioReads.value
        counts.mmioWrites = mmioWrites.value
        counts.halts = halts.value
        counts.shutdowns = shutdowns.value
        counts.interruptions = interruptions.value
        counts.others = others.value
        return counts
    }
}
