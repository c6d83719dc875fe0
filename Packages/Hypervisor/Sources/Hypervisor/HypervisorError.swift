public import LinuxSys

/// Why the hypervisor cannot do what was asked. `description` is one sentence for the user.
public enum HypervisorError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The device node does not exist.
    case noDevice(path: String)
    /// The device node exists, but this user may not open it for reading and writing.
    case noPermission(path: String)
    case cannotOpen(path: String, Errno)
    /// The file is there, but something else is behind it.
    case notKVM(path: String)
    /// KVM_GET_API_VERSION gave something other than 12 (kernel Documentation/virt/kvm/api.rst 4.1).
    case wrongAPIVersion(found: Int)
    /// The name of the capability as <linux/kvm.h> spells it.
    case missingCapability(StaticString)
    /// A call of the KVM API failed; its name as <linux/kvm.h> spells it.
    case call(StaticString, Errno)
    /// More vCPUs, or a higher vCPU id, than the host's KVM allows.
    case tooManyVCPUs(limit: Int)
    /// No such input of the interrupt controller: lines are 0..<limit.
    case noSuchInterruptLine(gsi: UInt32, limit: UInt32)
    /// The shared page of a vCPU is smaller than the structure it holds.
    case sharedPageTooSmall(size: Int)
    /// An eventfd could not be made.
    case eventFD(Errno)
    /// A model-specific register that a guest cannot do without.
    case msrRefused(index: UInt32)
    /// The operation has no meaning for this hypervisor.
    case unsupported(StaticString)

    public var description: String {
        switch self {
        case .noDevice(let path): "cannot open \(path): no such device; is the kvm module loaded?"
        case .noPermission(let path): "cannot open \(path): permission denied; is this user in the group that owns it?"
        case .cannotOpen(let path, let errno): "cannot open \(path): \(errno)"
        case .notKVM(let path): "\(path) is not a KVM device"
        case .wrongAPIVersion(let found): "KVM API version is \(found), but version 12 is needed"
        case .missingCapability(let name): "KVM lacks the capability \(name)"
        case .call(let name, let errno): "\(name) failed: \(errno)"
        case .tooManyVCPUs(let limit): "KVM on this host allows no more than \(limit) vCPUs"
        case .noSuchInterruptLine(let gsi, limit: 0): "interrupt line \(gsi) does not exist: there is no interrupt controller"
        case .noSuchInterruptLine(let gsi, let limit): "interrupt line \(gsi) does not exist: lines are 0 to \(Int64(limit) - 1)"
        case .sharedPageTooSmall(let size): "KVM shares only \(size) bytes with a vCPU"
        case .eventFD(let errno): "cannot create an eventfd: \(errno)"
        case .msrRefused(let index): "KVM refuses to set MSR 0x\(String(index, radix: 16))"
        case .unsupported(let what): "this hypervisor does not support \(what)"
        }
    }

    public static func == (a: HypervisorError, b: HypervisorError) -> Bool {
        switch (a, b) {
        case (.noDevice(let a), .noDevice(let b)), (.noPermission(let a), .noPermission(let b)), (.notKVM(let a), .notKVM(let b)): a == b
        case (.cannotOpen(let a, let x), .cannotOpen(let b, let y)): a == b && x == y
        case (.wrongAPIVersion(let a), .wrongAPIVersion(let b)), (.tooManyVCPUs(let a), .tooManyVCPUs(let b)),
             (.sharedPageTooSmall(let a), .sharedPageTooSmall(let b)): a == b
        case (.missingCapability(let a), .missingCapability(let b)), (.unsupported(let a), .unsupported(let b)):
            a.description == b.description
        case (.call(let a, let x), .call(let b, let y)): a.description == b.description && x == y
        case (.noSuchInterruptLine(let a, let x), .noSuchInterruptLine(let b, let y)): a == b && x == y
        case (.eventFD(let a), .eventFD(let b)): a == b
        case (.msrRefused(let a), .msrRefused(let b)): a == b
        default: false
        }
    }
}
