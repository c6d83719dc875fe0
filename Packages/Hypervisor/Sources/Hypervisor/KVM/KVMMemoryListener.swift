internal import AddressSpace
internal import CKVM
internal import LinuxSys
internal import Synchronization

/// Keeps KVM's memory slots and MMIO ioeventfds as the memory address space is.
final class KVMMemoryListener: AddressSpaceListener {
    private let machine: KVMVirtualMachine
    private let pageSize: UInt64
    private let readOnlySupported: Bool
    // Listeners are called one at a time; the lock makes that true for the compiler too.
    private let slots: Mutex<MemorySlots>
    private let ioEvents: KVMIOEventFDs

    init(machine: KVMVirtualMachine) {
        self.machine = machine
        pageSize = UInt64(ckvm_page_size())
        readOnlySupported = machine.kvm.value(of: .readOnlyMemory) > 0
        // Documented: a kernel that does not know the capability has 32 slots.
        let limit = machine.kvm.value(of: .memorySlots)
        slots = Mutex(MemorySlots(limit: limit > 0 ? limit : 32))
        ioEvents = KVMIOEventFDs(machine: machine, portSpace: false)
    }

    func regionsChanged(removed: [FlatRange], added: [FlatRange]) throws(AddressSpaceError) {
        let current = slots.withLock { $0 }
        var changed = current
        // In the order of the calls, to be taken back in reverse.
        var done: [(entry: MemorySlots.Entry, present: Bool)] = []
        do throws(AddressSpaceError) {
            for range in removed {
                guard let piece = try piece(of: range), let entry = changed.remove(base: piece.base) else { continue }
                try apply(entry, present: false)
                done.append((entry, false))
            }
            for range in added {
                guard let piece = try piece(of: range) else { continue }
                let entry: MemorySlots.Entry
                do throws(MemorySlotError) { entry = try changed.add(piece) } catch { throw .listener(error.operation, .invalid) }
                try apply(entry, present: true)
                done.append((entry, true))
            }
        } catch {
            for step in done.reversed() {
                do throws(AddressSpaceError) { try apply(step.entry, present: !step.present) } catch { throw .rollbackFailed(error.description) }
            }
            throw error
        }
        let result = changed
        slots.withLock { $0 = result }
    }

    func ioEventFDsChanged(removed: [IOEventFD], added: [IOEventFD]) throws(AddressSpaceError) {
        try ioEvents.change(removed: removed, added: added)
    }

    /// The pages of a range that KVM is to map; nil when the range is a device's or smaller than a page.
    private func piece(of range: FlatRange) throws(AddressSpaceError) -> MemoryPiece? {
        switch range.kind {
        case .io: return nil
        case .ram, .romDevice, .ramDevice: break
        }
        do throws(MemorySlotError) {
            return try MemoryPiece(
                base: range.base, size: range.size, host: UInt64(range.hostAddress), readOnly: range.readOnly, pageSize: pageSize)
        } catch {
            throw .listener(error.operation, .invalid)
        }
    }

    private func apply(_ entry: MemorySlots.Entry, present: Bool) throws(AddressSpaceError) {
        let piece = entry.piece
        if present, piece.readOnly, !readOnlySupported {
            throw .listener("map read-only guest memory: KVM lacks the capability KVM_CAP_READONLY_MEM", .notSupported)
        }
        // A size of 0 deletes the slot. SAFETY of what KVM does with the host address: the range's HostMemory lives as long as the region is in
        // the flat view, and the address space takes it out of KVM (here) before it lets go of it.
        let result = ckvm_set_memory(
            machine.file.raw, entry.slot, present && piece.readOnly ? UInt32(KVM_MEM_READONLY) : 0, piece.base,
            present ? piece.size : 0, piece.host)
        guard result < 0 else { return }
        throw .listener("\(present ? "map" : "unmap") guest memory at 0x\(String(piece.base, radix: 16))", Errno(result: result))
    }
}
