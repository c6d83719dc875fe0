internal import Hypervisor

extension X86Platform {
    /// Where memory devices may begin: behind RAM, and behind the registers below 4 GiB.
    static func memoryDeviceStart(ramEnd: UInt64) -> UInt64 { max(ramEnd, gapEnd) }

    /// The end of what a processor of this machine can address: CPUID 0x80000008, EAX bits 0 to 7; without that leaf 36 bits (Intel SDM vol. 2, CPUID).
    static func physicalAddressLimit(of cpu: any VirtualCPU) throws(HypervisorError) -> UInt64 {
        let leaf = try cpu.x86?.supportedCPUID().first { $0.function == 0x8000_0008 }
        let bits = leaf.map { UInt64($0.eax & 0xff) } ?? 36
        return 1 << min(max(bits, 32), 52)
    }
}
