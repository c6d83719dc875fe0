public import AddressSpace

/// What every hypervisor gives to a machine. Order of calls: `createIRQChip`, then vCPUs and interrupt lines; the listeners are added to the
/// address spaces before the guest runs. Any thread, unless said otherwise.
public protocol VirtualMachine: AnyObject, Sendable {
    /// Creates the interrupt controllers, which live in the hypervisor. Once, before the first vCPU: a vCPU made earlier has no local APIC. Does nothing on
    /// aarch64, see `AArch64VirtualMachine.createGIC`.
    func createIRQChip() throws(HypervisorError)

    /// A new source of interrupts on input `gsi` of the interrupt controller. Several lines may share an input, if all are edge triggered.
    func makeInterruptLine(gsi: UInt32) throws(HypervisorError) -> any InterruptLine

    /// Gives guest memory and the ioeventfds of the memory space to the hypervisor.
    func memoryListener() -> any AddressSpaceListener

    /// Gives the ioeventfds of the port space to the hypervisor.
    func portListener() -> any AddressSpaceListener

    /// A vCPU with a hardware `id` (x86: the APIC id; aarch64: what the MPIDR is derived from) that no other has.
    func createVCPU(id: UInt32) throws(HypervisorError) -> any VirtualCPU

    /// What there is on aarch64 only; nil on other architectures.
    var aarch64: (any AArch64VirtualMachine)? { get }

    /// What the hypervisor counts for the whole machine; empty when it counts nothing.
    func statistics() -> [HypervisorStatistic]
}

extension VirtualMachine {
    public var aarch64: (any AArch64VirtualMachine)? { nil }
    public func statistics() -> [HypervisorStatistic] { [] }
}

/// One wire into the interrupt controller. Any thread, also several at once.
public protocol InterruptLine: AnyObject, Sendable {
    /// Global system interrupt: the controller's input. On aarch64 a shared peripheral interrupt: the INTID less 32.
    var gsi: UInt32 { get }

    /// An edge: up and down again. Never blocks and never fails; edges that the controller has not yet seen merge.
    func pulse()

    /// An eventfd that does what `pulse` does for whoever writes to it: the irqfd (kernel Documentation/virt/kvm/api.rst, KVM_IRQFD). For back ends that
    /// interrupt the guest themselves, such as vhost. Belongs to the line. Nil when the line has none.
    var eventDescriptor: Int32? { get }

    /// Holds the line at a level. A line is used either with `pulse` or with `set`: a pulse also lowers the input.
    func set(level: Bool)
}

extension InterruptLine {
    public var eventDescriptor: Int32? { nil }
}
