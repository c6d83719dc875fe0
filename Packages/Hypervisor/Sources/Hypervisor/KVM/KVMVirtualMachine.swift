public import AddressSpace
internal import CKVM
internal import LinuxSys

/// A virtual machine of KVM. Its memory slots, interrupt lines and vCPUs keep it alive in the kernel; the descriptor goes with the last of them.
public final class KVMVirtualMachine: VirtualMachine {
    let kvm: KVM
    let file: OwnedFD
    /// What belongs to a machine on this host's architecture only.
    let architecture: KVMArchitecture
    private let vcpuIDLimit: Int

    init(kvm: KVM, file: consuming OwnedFD, architecture: KVMArchitecture) throws(HypervisorError) {
        self.kvm = kvm
        self.file = file
        self.architecture = architecture
        vcpuIDLimit = KVMArchitecture.vcpuIDLimit(of: kvm)
        try prepareArchitecture()
    }

    public func makeInterruptLine(gsi: UInt32) throws(HypervisorError) -> any InterruptLine {
        let limit = architecture.interruptLineLimit
        guard gsi < limit else { throw .noSuchInterruptLine(gsi: gsi, limit: limit) }
        return try KVMInterruptLine(machine: self, gsi: gsi)
    }

    public func memoryListener() -> any AddressSpaceListener { KVMMemoryListener(machine: self) }

    public func createVCPU(id: UInt32) throws(HypervisorError) -> any VirtualCPU {
        guard Int(id) < vcpuIDLimit else { throw .tooManyVCPUs(limit: vcpuIDLimit) }
        return try KVMVirtualCPU(machine: self, id: id)
    }

    /// The descriptor is there only meanwhile.
    public func statistics() -> [HypervisorStatistic] {
        guard let statistics = KVMStatistics.open(file.raw) else { return [] }
        return KVMStatistics.read(statistics)
    }
}
