internal import CKVM
internal import LinuxSys

/// The host's KVM: an open /dev/kvm with everything that the monitor needs. There is no look at the processor's flags: a host may virtualize
/// without VT-x or SVM.
public final class KVM: Sendable {
    let file: OwnedFD
    /// Bytes that KVM shares with each vCPU.
    let sharedSize: Int

    /// The only API version there has been since Linux 2.6.22.
    static let apiVersion = 12

    /// Opens KVM and checks its version and each capability that every machine needs.
    public static func open(path: String = "/dev/kvm") throws(HypervisorError) -> KVM {
        let file: OwnedFD
        do {
            file = try SysFile.open(path, .readWrite)
        } catch {
            throw openError(path: path, error)
        }
        return try KVM(file: file, path: path)
    }

    static func openError(path: String, _ errno: Errno) -> HypervisorError {
        switch errno {
        // ENODEV and ENXIO: the node is there and no module behind it.
        case .noEntry, .noSuchDevice, .noSuchAddress: .noDevice(path: path)
        case .accessDenied, .notPermitted: .noPermission(path: path)
        default: .cannotOpen(path: path, errno)
        }
    }

    private init(file: consuming OwnedFD, path: String) throws(HypervisorError) {
        let version = ckvm_api_version(file.raw)
        guard version != -Int(Errno.notThisKind.code) else { throw .notKVM(path: path) }
        guard version >= 0 else { throw .call("KVM_GET_API_VERSION", Errno(result: version)) }
        guard version == KVM.apiVersion else { throw .wrongAPIVersion(found: version) }
        for capability in KVMCapability.required + KVMCapability.requiredByArchitecture
        where ckvm_check_extension(file.raw, capability.number) <= 0 {
            throw .missingCapability(capability.name)
        }
        sharedSize = try kvmCall("KVM_GET_VCPU_MMAP_SIZE", ckvm_vcpu_mmap_size(file.raw))
        guard sharedSize >= ckvm_run_structure_size() else { throw .sharedPageTooSmall(size: sharedSize) }
        self.file = file
    }

    /// What KVM answers for a capability: 0 is no, 1 yes, some give a number.
    func value(of capability: KVMCapability) -> Int { max(0, ckvm_check_extension(file.raw, capability.number)) }

    /// A machine without memory, interrupt controllers or vCPUs.
    public func createVirtualMachine() throws(HypervisorError) -> KVMVirtualMachine {
        let architecture = KVMArchitecture(kvm: self)
        // The kernel gives up when a signal comes while it waits for other processors.
        var result = ckvm_create_vm(file.raw, architecture.machineType)
        while result == -Int(Errno.interrupted.code) { result = ckvm_create_vm(file.raw, architecture.machineType) }
        let number = try kvmCall("KVM_CREATE_VM", result)
        return try KVMVirtualMachine(kvm: self, file: OwnedFD(adopting: Int32(truncatingIfNeeded: number)), architecture: architecture)
    }
}

extension Errno {
    /// From the result of a `ckvm_` function that failed.
    init(result: Int) { self.init(Int32(truncatingIfNeeded: 0 &- result)) }

    /// ENOTTY: the file knows no such call.
    static let notThisKind = Errno(25)
    static let noSuchDevice = Errno(19)
    static let noSuchAddress = Errno(6)
}

/// The value of a KVM call, or its errno as an error that names the call.
@discardableResult
func kvmCall(_ name: StaticString, _ result: Int) throws(HypervisorError) -> Int {
    if result < 0 { throw .call(name, Errno(result: result)) }
    return result
}
