/// Where a generic interrupt controller lies in guest physical addresses, and how large it is. All addresses are multiples of 64 KiB.
public struct GICLayout: Equatable, Sendable {
    /// Redistributors of `count` vCPUs, 128 KiB each, one behind the other.
    public struct Redistributors: Equatable, Sendable {
        public var base: UInt64
        public var count: Int

        public init(base: UInt64, count: Int) { (self.base, self.count) = (base, count) }

        /// In bytes.
        public static let sizeOfOne: UInt64 = 0x2_0000
    }

    /// 64 KiB, for version 2 the first 4 KiB of them.
    public var distributor: UInt64
    /// Version 2 only: 8 KiB.
    public var cpuInterface: UInt64
    /// Version 3 only: 128 KiB, where the interrupt translation service is to be; nil: none is wanted.
    public var its: UInt64?
    /// Version 3 only. Together they have room for all vCPUs.
    public var redistributors: [Redistributors]
    /// How many interrupt numbers (INTIDs) there are, the 32 private ones included: a multiple of 32, 64...992.
    public var lines: UInt32

    public init(distributor: UInt64, cpuInterface: UInt64, its: UInt64?, redistributors: [Redistributors], lines: UInt32) {
        (self.distributor, self.cpuInterface, self.its) = (distributor, cpuInterface, its)
        (self.redistributors, self.lines) = (redistributors, lines)
    }
}

/// The interrupt controller that a machine got.
public enum GICKind: Equatable, Sendable {
    /// At most 8 vCPUs.
    case v2
    case v3(hasITS: Bool)
}

/// What a virtual machine has on aarch64 only. Any thread.
///
/// Interrupt lines there are shared peripheral interrupts: `gsi` is the INTID less 32.
public protocol AArch64VirtualMachine: VirtualMachine {
    /// Creates and starts the interrupt controller: once, after all `vcpus` vCPUs are initialized and before any interrupt line. Version 3 where the host
    /// can, with the ITS if it can that too, else version 2.
    func createGIC(_ layout: GICLayout, vcpus: Int) throws(HypervisorError) -> GICKind

    /// The hypervisor can give a performance monitoring unit to vCPUs.
    var hasPMU: Bool { get }
    /// The hypervisor can give the scalable vector extension to vCPUs.
    var hasSVE: Bool { get }
    /// The hypervisor can tell vCPUs which time was stolen from them.
    var hasStolenTime: Bool { get }
    /// Guest physical addresses of this machine have so many bits: 32...40.
    var physicalAddressBits: Int { get }
}
