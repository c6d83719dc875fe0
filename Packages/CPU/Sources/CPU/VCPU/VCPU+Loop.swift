internal import AddressSpace
internal import Hypervisor
internal import LinuxSys

/// The life of the thread between reset and end.
extension VCPU {
    /// Runs the guest until somebody stops the vCPU (nil) or the guest cannot go on.
    ///
    /// Why no command is lost. A commander (1) changes the phase, then (2) sends the signal; the handler, on this thread, (3) sets immediate_exit.
    /// This thread (a) clears immediate_exit, then (b) reads the phase, then (c) enters the guest. If the signal's handler runs before (a), its
    /// store is wiped out, but then (1) came before (b), and (b) sees the command. If it runs after (a), immediate_exit is set when (c) looks, or
    /// the signal interrupts (c); either way `run` returns `interrupted`. In the other order, (b) before (a), a command between the two would be
    /// seen only at the next exit, which a spinning guest never makes. A commander that finds no thread to signal yet has done (1) before the thread
    /// published its id, hence before (b). (1), the id and (b) are sequentially consistent.
    ///
    /// Since the flag stays set until (a), exits in between need no look at the phase: the next `run` completes the access that is under way, as
    /// kernel Documentation/virt/kvm/api.rst 4.10 wants before the registers may be read, and returns `interrupted`.
    ///
    /// The hooks for pausing run between (a) and (c) and neither clear the flag nor enter the guest, so a command that comes meanwhile counts as one
    /// between (b) and (c).
    func loop(_ reset: any VCPUReset) -> StopReason? {
        while true {
            virtualCPU.setImmediateExit(false)
            guard waitForPermission(reset) else { return nil }
            if let reason = runUntilInterrupted() { return reason }
        }
    }

    /// True when the guest may run; sleeps while paused. False when the vCPU is to stop.
    private func waitForPermission(_ reset: any VCPUReset) -> Bool {
        // One sleep, however often commands resume and pause the vCPU before its thread wakes up.
        var isAsleep = false
        while true {
            let now = Phase(phase.value)
            switch now {
            case .running:
                if isAsleep { reset.resumes(virtualCPU) }
                return true
            case .pausing:
                if !isAsleep { reset.pauses(virtualCPU) }
                isAsleep = true
                if change(now, to: .paused) { Trace.emit(.vcpuPause, "", UInt64(clamping: id)) }
            case .paused: phase.wait(while: now.rawValue)
            case .created, .stopping, .stopped: return false
            }
        }
    }

    /// The exit path: no lock, no allocation. Nil when a kick came.
    private func runUntilInterrupted() -> StopReason? {
        while true {
            let exit = virtualCPU.run()
            count(exit)
            switch exit {
            case .mmioWrite(let address, let size, let value): memory.write(at: address, size: size, value: value)
            case .mmioRead(let address, let size): virtualCPU.setMMIOValue(memory.read(at: address, size: size) ?? .max)
            case .portOut(let port, let size, let count): writePort(port, size: size, count: count)
            case .portIn(let port, let size, let count): readPort(port, size: size, count: count)
            case .interrupted: return nil
            case .again: continue
            case .shutdown: return .tripleFault
            case .halt: return .halted
            case .systemEvent(let type): return .systemEvent(type: type)
            case .internalError(let suberror): return .internalError(suberror: suberror, detail: virtualCPU.diagnosis())
            case .failEntry(let reason): return .failEntry(reason: reason, detail: virtualCPU.diagnosis())
            case .failed(let errno): return .runFailed(Errno(errno), detail: virtualCPU.diagnosis())
            case .unknown(let reason):
                Trace.emit(.vcpuUnknownExit, "", UInt64(clamping: id), UInt64(reason))
                return .unknownExit(reason: reason)
            }
        }
    }

    private func count(_ exit: VCPUExit) {
        switch exit {
        case .mmioWrite: exitCounters.mmioWrites.add()
        case .mmioRead: exitCounters.mmioReads.add()
        case .portOut: exitCounters.portWrites.add()
        case .portIn: exitCounters.portReads.add()
        case .interrupted: exitCounters.interruptions.add()
        case .halt: exitCounters.halts.add()
        case .shutdown: exitCounters.shutdowns.add()
        case .again, .systemEvent, .failEntry, .internalError, .failed, .unknown: exitCounters.others.add()
        }
    }

    /// `count` is bounded by the hypervisor: what fits in the page that it shares (4096 items).
    private func writePort(_ port: UInt16, size: Int, count: Int) {
        guard let ports else { return }
        for item in 0..<max(0, count) { ports.write(at: UInt64(port), size: size, value: UInt64(virtualCPU.portItem(item))) }
    }

    /// What nobody answers reads as all ones, like a bus that floats.
    private func readPort(_ port: UInt16, size: Int, count: Int) {
        for item in 0..<max(0, count) {
            let value = ports?.read(at: UInt64(port), size: size) ?? .max
            virtualCPU.setPortItem(item, UInt32(truncatingIfNeeded: value))
        }
    }
}
