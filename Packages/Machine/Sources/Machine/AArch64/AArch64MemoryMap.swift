internal import Hypervisor

/// Guest physical memory of an aarch64 microVM: interrupt controller, device registers, virtio-mmio, and from 1 GiB on RAM with memory devices behind it.
struct AArch64MemoryMap: Equatable, Sendable {
    static let distributor = FixedRange("GIC distributor", at: 0x0800_0000, size: 0x1_0000)
    static let cpuInterface = FixedRange("GICv2 CPU interface", at: 0x0801_0000, size: 0x1_0000)
    static let its = FixedRange("GICv3 ITS", at: 0x0808_0000, size: 0x2_0000)
    static let redistributors = FixedRange("GICv3 redistributors", at: 0x080A_0000, size: 0xF6_0000)
    /// With the boot timer's word in it.
    static let serial = FixedRange("PL011", at: 0x0900_0000, size: 0x1000)
    static let clock = FixedRange("PL031", at: 0x0901_0000, size: 0x1000)
    static let gpio = FixedRange("PL061", at: 0x0903_0000, size: 0x1000)
    /// Memory, of whole pages whatever the host's pages are: 64 bytes for each vCPU (Arm DEN0057).
    static let stolenTime = FixedRange("stolen time", at: 0x090A_0000, size: 0x1_0000)
    static let virtio = FixedRange("virtio-mmio", at: 0x0A00_0000, size: 0x200_0000)
    static let ramBase: UInt64 = 1 << 30

    /// The inventory: what is there in every machine, or left free for the hosts that have it, none over another.
    static let fixed = [distributor, cpuInterface, its, redistributors, serial, clock, gpio, stolenTime, virtio]

    static let stolenTimeSize: UInt64 = 64
    /// Shared interrupts, from INTID 32 on: SPI 0...223, of which virtio-mmio has 32...223.
    static let interruptLines: UInt32 = 256
    static let virtioInterrupts = Array<UInt32>(32..<interruptLines - 32)

    /// How many redistributors are below RAM: 123.
    static let lowRedistributors = Int(redistributors.range.upperBound - redistributors.range.lowerBound) / Int(GICLayout.Redistributors.sizeOfOne)
    /// Where those of further vCPUs are, if RAM does not reach so far.
    static let highRedistributorBase: UInt64 = 256 << 30
    static let highRedistributorSize: UInt64 = 0x200_0000

    let ram: Range<UInt64>
    /// Behind the last address that the guest can use.
    let limit: UInt64
    /// Redistributors of the vCPUs for which there is no room below; nil when there is for all.
    let highRedistributors: FixedRange?
    private let vcpus: Int

    /// - Parameters:
    ///   - ramSize: bytes, at most 512 GiB.
    ///   - nodes: the sizes of the parts that RAM consists of.
    ///   - addressBits: of a guest physical address, 32 to 52.
    ///   - pageSize: of the host, a power of two of at most 64 KiB.
    init(nodes: [UInt64], vcpus: Int, addressBits: Int, pageSize: UInt64) throws(MemoryMapError) {
        limit = 1 << UInt64(min(max(addressBits, 32), 52))
        self.vcpus = vcpus
        var end = Self.ramBase
        for size in nodes {
            guard size % pageSize == 0 else { throw .partialPage(size: size, pageSize: pageSize) }
            let (sum, overflow) = end.addingReportingOverflow(size)
            guard !overflow, sum <= limit else { throw .tooMuchRAM(end: overflow ? .max : sum, limit: limit) }
            end = sum
        }
        ram = Self.ramBase..<end
        guard vcpus > Self.lowRedistributors else {
            highRedistributors = nil
            return
        }
        let behindRAM = (end + Self.highRedistributorSize - 1) & ~(Self.highRedistributorSize - 1)
        // The usual place, unless RAM or the end of the addresses is in the way.
        let usual = max(Self.highRedistributorBase, behindRAM)
        let base = usual <= limit - Self.highRedistributorSize ? usual : behindRAM
        guard base <= limit - Self.highRedistributorSize else { throw .noRoomForRedistributors(limit: limit) }
        highRedistributors = FixedRange("further GICv3 redistributors", at: base, size: Self.highRedistributorSize)
    }

    /// RAM of mappings of these sizes: each is one part.
    static func ramParts(sizes: [UInt64]) -> [RAMPart] {
        var base = ramBase
        return sizes.enumerated().map { memory, size in
            defer { base += size }
            return RAMPart(name: sizes.count > 1 ? "ram-\(memory)" : "ram", base: base, size: size, memory: memory, offset: 0)
        }
    }

    /// Where memory devices may be, and what of it is taken.
    var memoryDevices: MemoryDeviceArea { MemoryDeviceArea(range: ram.upperBound..<limit, taken: highRedistributors.map { [$0] } ?? []) }

    var gic: GICLayout {
        var redistributors = [GICLayout.Redistributors(base: Self.redistributors.range.lowerBound, count: min(vcpus, Self.lowRedistributors))]
        if let high = highRedistributors { redistributors.append(.init(base: high.range.lowerBound, count: vcpus - Self.lowRedistributors)) }
        return GICLayout(
            distributor: Self.distributor.range.lowerBound, cpuInterface: Self.cpuInterface.range.lowerBound, its: Self.its.range.lowerBound,
            redistributors: redistributors, lines: Self.interruptLines)
    }

    /// Where a vCPU finds its stolen time.
    static func stolenTime(of index: Int) -> UInt64 { stolenTime.range.lowerBound + UInt64(index) * stolenTimeSize }
}
