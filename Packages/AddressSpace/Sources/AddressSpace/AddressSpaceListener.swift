/// Is told what changes in an address space; the hypervisor's memory slots and ioeventfds live behind it.
///
/// Called with the topology locked, on the thread that ends the transaction, before vCPUs see the new view.
/// Must not change any address space. Each call is all or nothing: a listener that throws leaves itself as it was
/// before the call, and the transaction is taken back.
public protocol AddressSpaceListener: AnyObject, Sendable {
    /// Both sorted by base. A range that changes in any way is in both lists; handle `removed` first.
    func regionsChanged(removed: [FlatRange], added: [FlatRange]) throws(AddressSpaceError)
    /// Both sorted by address. Called after `regionsChanged`.
    func ioEventFDsChanged(removed: [IOEventFD], added: [IOEventFD]) throws(AddressSpaceError)
}

extension AddressSpaceListener {
    public func regionsChanged(removed: [FlatRange], added: [FlatRange]) throws(AddressSpaceError) {}
    public func ioEventFDsChanged(removed: [IOEventFD], added: [IOEventFD]) throws(AddressSpaceError) {}
}
