internal import CKVM
internal import LinuxSys

/// An interrupt line of KVM: an irqfd for edges, KVM_IRQ_LINE for levels.
final class KVMInterruptLine: InterruptLine {
    let gsi: UInt32
    private let machine: KVMVirtualMachine
    private let event: EventFD

    init(machine: KVMVirtualMachine, gsi: UInt32) throws(HypervisorError) {
        do {
            event = try EventFD()
        } catch {
            throw .eventFD(error)
        }
        self.machine = machine
        self.gsi = gsi
        try kvmCall("KVM_IRQFD", ckvm_irqfd(machine.file.raw, gsi, event.raw, 0))
    }

    deinit {
        // The kernel would also notice the closed eventfd, but later: a line made anew for the same input must not meet the old one.
        _ = ckvm_irqfd(machine.file.raw, gsi, event.raw, UInt32(KVM_IRQFD_FLAG_DEASSIGN))
    }

    // The write into the eventfd raises and lowers the input inside the kernel, and needs no ioctl.
    func pulse() { event.signal() }

    var eventDescriptor: Int32? { event.raw }

    func set(level: Bool) { _ = ckvm_irq_line(machine.file.raw, KVMArchitecture.irqLine(gsi: gsi), level ? 1 : 0) }
}
