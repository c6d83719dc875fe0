internal import AddressSpace
internal import CKVM
internal import LinuxSys

/// Gives the ioeventfds of one space to KVM (KVM_IOEVENTFD, kernel Documentation/virt/kvm/api.rst 4.59).
struct KVMIOEventFDs: Sendable {
    let machine: KVMVirtualMachine
    let portSpace: Bool

    /// All or nothing.
    func change(removed: [IOEventFD], added: [IOEventFD]) throws(AddressSpaceError) {
        var done: [(event: IOEventFD, present: Bool)] = []
        do throws(AddressSpaceError) {
            for event in removed {
                try apply(event, present: false)
                done.append((event, false))
            }
            for event in added {
                try apply(event, present: true)
                done.append((event, true))
            }
        } catch {
            for step in done.reversed() {
                do throws(AddressSpaceError) { try apply(step.event, present: !step.present) } catch { throw .rollbackFailed(error.description) }
            }
            throw error
        }
    }

    private func apply(_ event: IOEventFD, present: Bool) throws(AddressSpaceError) {
        var flags: UInt32 = present ? 0 : 1 << kvm_ioeventfd_flag_nr_deassign
        if portSpace { flags |= 1 << kvm_ioeventfd_flag_nr_pio }
        if event.datamatch != nil { flags |= 1 << kvm_ioeventfd_flag_nr_datamatch }
        let result = ckvm_ioeventfd(
            machine.file.raw, event.address, UInt32(truncatingIfNeeded: event.size), event.event.raw, event.datamatch ?? 0, flags)
        guard result < 0 else { return }
        let space = portSpace ? "port" : "address"
        throw .listener("\(present ? "add" : "remove") the ioeventfd at \(space) 0x\(String(event.address, radix: 16))", Errno(result: result))
    }
}
