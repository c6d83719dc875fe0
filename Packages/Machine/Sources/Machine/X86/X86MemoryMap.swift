internal import Devices
internal import Hypervisor

/// Guest physical memory of an x86_64 microVM: RAM from 0 to at most 3 GiB and on from 4 GiB; memory devices behind it; device registers in the gap.
enum X86MemoryMap {
    static let gapStart: UInt64 = 3 << 30
    static let gapEnd: UInt64 = 4 << 30

    /// What lies in the gap: the inventory of the registers, none over another. The interrupt controllers are in KVM; its identity page and its task state segment
    /// are where `KVMVirtualMachine` puts them.
    static let fixed: [FixedRange] = [
        FixedRange("power button", at: PowerButton.registerBase, size: PowerButton.registerSize),
        FixedRange("virtio-mmio", at: SysBus.defaultWindow.lowerBound, size: SysBus.defaultWindow.upperBound - SysBus.defaultWindow.lowerBound),
        FixedRange("I/O APIC", at: 0xFEC0_0000, size: 0x10_0000),
        FixedRange("local APICs", at: 0xFEE0_0000, size: 0x10_0000),
        FixedRange("KVM identity page and TSS", at: 0xFEF0_C000, size: 0x4000),
    ]

    /// What would reach into the gap goes on behind it.
    static func ramParts(sizes: [UInt64]) -> [RAMPart] {
        var parts: [RAMPart] = []
        var start: UInt64 = 0
        for (memory, size) in sizes.enumerated() {
            let node = sizes.count > 1 ? "-\(memory)" : ""
            let low = min(size, gapStart - min(start, gapStart))
            if low > 0 { parts.append(RAMPart(name: "ram-below-4g\(node)", base: start, size: low, memory: memory, offset: 0)) }
            if size > low {
                let base = gapEnd + (start + low - gapStart)
                parts.append(RAMPart(name: "ram-above-4g\(node)", base: base, size: size - low, memory: memory, offset: low))
            }
            start += size
        }
        return parts
    }

    /// Behind RAM, and behind the registers below 4 GiB.
    static func memoryDevices(ramEnd: UInt64, limit: UInt64) -> MemoryDeviceArea { MemoryDeviceArea(range: min(max(ramEnd, gapEnd), limit)..<limit) }

    /// The end of what a processor of this machine can address: CPUID 0x80000008, EAX bits 0 to 7; without that leaf 36 bits (Intel SDM vol. 2, CPUID).
    static func addressLimit(of cpu: any VirtualCPU) throws(HypervisorError) -> UInt64 {
        let leaf = try cpu.x86?.supportedCPUID().first { $0.function == 0x8000_0008 }
        let bits = leaf.map { UInt64($0.eax & 0xff) } ?? 36
        return 1 << min(max(bits, 32), 52)
    }
}
