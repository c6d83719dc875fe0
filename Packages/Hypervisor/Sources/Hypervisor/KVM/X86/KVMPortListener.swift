#if arch(x86_64)
internal import AddressSpace

/// Keeps KVM's port ioeventfds as the port address space is.
final class KVMPortListener: AddressSpaceListener {
    private let ioEvents: KVMIOEventFDs

    init(machine: KVMVirtualMachine) { ioEvents = KVMIOEventFDs(machine: machine, portSpace: true) }

    func ioEventFDsChanged(removed: [IOEventFD], added: [IOEventFD]) throws(AddressSpaceError) {
        try ioEvents.change(removed: removed, added: added)
    }
}
#endif
