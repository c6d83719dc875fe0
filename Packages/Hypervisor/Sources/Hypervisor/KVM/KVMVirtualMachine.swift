public import AddressSpace
internal import CKVM
internal import LinuxSys
internal import Synchronization

/// A virtual machine of KVM. Its memory slots, interrupt lines and vCPUs keep it alive in the kernel; the descriptor goes with the last of them.
public final class KVMVirtualMachine: VirtualMachine {
    let kvm: KVM
    let file: OwnedFD
    /// What KVM_GET_SUPPORTED_CPUID said: asked once, since the kernel takes 0.3 ms to answer.
    let cpuidCache = Mutex<[CPUIDEntry]?>(nil)
    private let vcpuIDLimit: Int

    init(kvm: KVM, file: consuming OwnedFD) throws(HypervisorError) {
        self.kvm = kvm
        self.file = file
        // Since Linux 4.6; before that an id is bounded by the number of vCPUs.
        let limit = kvm.value(of: .vcpuID)
        vcpuIDLimit = limit > 0 ? limit : kvm.value(of: .vcpus)
        try prepareArchitecture()
    }

    public func makeInterruptLine(gsi: UInt32) throws(HypervisorError) -> any InterruptLine {
        guard gsi < KVMVirtualMachine.interruptLineLimit else {
            throw .noSuchInterruptLine(gsi: gsi, limit: KVMVirtualMachine.interruptLineLimit)
        }
        return try KVMInterruptLine(machine: self, gsi: gsi)
    }

    public func memoryListener() -> any AddressSpaceListener { KVMMemoryListener(machine: self) }

    public func portListener() -> any AddressSpaceListener { KVMPortListener(machine: self) }

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
