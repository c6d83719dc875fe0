#if arch(arm64)
internal import CKVM
internal import LinuxSys

/// The interrupt controller in the kernel. It can neither be taken back nor made a second time: after a failure the machine is of no more use.
final class KVMGIC: Sendable {
    let kind: GICKind
    /// Inputs: the shared interrupts.
    let lines: UInt32
    private let controller: KVMDevice
    private let its: KVMDevice?

    init(machine: KVMVirtualMachine, layout: GICLayout, vcpus: Int) throws(HypervisorError) {
        try GICSetup.check(layout, vcpus: vcpus)
        lines = AArch64Numbers.interruptLines(ofINTIDs: layout.lines)
        if let v3 = try KVMDevice(machine: machine, type: KVM_DEV_TYPE_ARM_VGIC_V3, name: "KVM_CREATE_DEVICE of a GICv3") {
            let hasRegions = v3.has(.redistributorRegion(index: 0, base: 0, count: 1))
            try v3.set(GICSetup.v3(layout, hasRegions: hasRegions))
            controller = v3
            its = try Self.its(of: machine, layout)
            kind = .v3(hasITS: its != nil)
        } else if let v2 = try KVMDevice(machine: machine, type: KVM_DEV_TYPE_ARM_VGIC_V2, name: "KVM_CREATE_DEVICE of a GICv2") {
            try v2.set(GICSetup.v2(layout, vcpus: vcpus))
            controller = v2
            its = nil
            kind = .v2
        } else {
            throw .unsupported("an interrupt controller: KVM has neither a GICv3 nor a GICv2")
        }
    }

    private static func its(of machine: KVMVirtualMachine, _ layout: GICLayout) throws(HypervisorError) -> KVMDevice? {
        guard let base = layout.its,
            let its = try KVMDevice(machine: machine, type: KVM_DEV_TYPE_ARM_VGIC_ITS, name: "KVM_CREATE_DEVICE of an ITS")
        else { return nil }
        try its.set(GICSetup.its(at: base))
        return its
    }
}

/// A device of KVM, by its descriptor.
final class KVMDevice: Sendable {
    private let file: OwnedFD

    /// Nil when this host's KVM has no such device.
    init?(machine: KVMVirtualMachine, type: kvm_device_type, name: StaticString) throws(HypervisorError) {
        let result = ckvm_create_device(machine.file.raw, type.rawValue)
        guard result != -Int(Errno.noSuchDevice.code) else { return nil }
        file = OwnedFD(adopting: Int32(truncatingIfNeeded: try kvmCall(name, result)))
    }

    func has(_ attribute: KVMDeviceAttribute) -> Bool { ckvm_has_attribute(file.raw, attribute.group, attribute.attribute) >= 0 }

    /// In order, up to the first that is refused.
    func set(_ attributes: [KVMDeviceAttribute]) throws(HypervisorError) {
        for attribute in attributes { try attribute.set(on: file.raw) }
    }
}

extension KVMDeviceAttribute {
    /// Sets it on a device or a vCPU, by its descriptor.
    func set(on file: Int32) throws(HypervisorError) {
        let result = switch value {
        case .none: ckvm_set_attribute_none(file, group, attribute)
        case .word32(let word): ckvm_set_attribute_32(file, group, attribute, word)
        case .word64(let word): ckvm_set_attribute_64(file, group, attribute, word)
        }
        try kvmCall(name, result)
    }
}
#endif
