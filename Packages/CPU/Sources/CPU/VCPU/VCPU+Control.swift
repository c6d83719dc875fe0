internal import CCPU
internal import LinuxSys
internal import Synchronization

/// Pause, resume and stop. A command changes the phase by compare-and-exchange, then kicks the thread out of the guest; see `loop` for why no kick
/// is lost.
extension VCPU {
    /// Asks the vCPU to pause, without waiting: to pause a machine, ask all its vCPUs, then wait for each. Does nothing when it pauses already.
    public func requestPause() throws(CPUError) {
        while true {
            let now = Phase(phase.value)
            switch now {
            case .running:
                if change(now, to: .pausing) { return kick() }
            case .pausing, .paused: return
            case .created, .stopping, .stopped: throw .wrongState(id, now.state)
            }
        }
    }

    /// Waits until a pause that was asked for has happened. When the thread does not agree in time (it may be inside a slow device) this throws
    /// `pauseTimedOut`; the vCPU still pauses as soon as it can, unless `resume` takes the request back.
    public func waitUntilPaused(milliseconds: UInt64 = 2000) throws(CPUError) {
        if isOwnThread { throw .onOwnThread(id) }
        let limit = milliseconds.multipliedReportingOverflow(by: 1_000_000)
        let start = Clock.monotonicNanoseconds()
        while true {
            let now = Phase(phase.value)
            switch now {
            case .paused: return
            case .pausing: break
            // Somebody resumed or stopped it meanwhile.
            case .created, .running, .stopping, .stopped: throw .wrongState(id, now.state)
            }
            let passed = Clock.monotonicNanoseconds() &- start
            guard limit.overflow || passed < limit.partialValue else { throw .pauseTimedOut(id) }
            phase.wait(while: now.rawValue, nanoseconds: limit.overflow ? -1 : Int64(clamping: limit.partialValue &- passed))
        }
    }

    /// Pauses, and returns when no instruction of the guest runs any more and every access that it had begun is complete.
    public func pause(milliseconds: UInt64 = 2000) throws(CPUError) {
        if isOwnThread { throw .onOwnThread(id) }
        try requestPause()
        try waitUntilPaused(milliseconds: milliseconds)
    }

    /// Lets a paused vCPU run on, or takes back a pause that has not happened yet. Does nothing when it runs.
    public func resume() throws(CPUError) {
        while true {
            let now = Phase(phase.value)
            switch now {
            case .pausing, .paused:
                if change(now, to: .running) { return Trace.emit(.vcpuResume, "", UInt64(clamping: id)) }
            case .running: return
            case .created, .stopping, .stopped: throw .wrongState(id, now.state)
            }
        }
    }

    /// Ends the vCPU for good, without waiting; `join` waits. Any number of times, also on the vCPU's own thread.
    public func stop() {
        while true {
            let now = Phase(phase.value)
            switch now {
            case .created:
                if change(now, to: .stopped) { return }
            case .running, .pausing, .paused:
                if change(now, to: .stopping) { return kick() }
            case .stopping, .stopped: return
            }
        }
    }

    /// True when the phase was `old`, and now is `new` and known to everybody who waits.
    func change(_ old: Phase, to new: Phase) -> Bool {
        guard phase.exchange(old.rawValue, for: new.rawValue) else { return false }
        phase.wakeAll()
        return true
    }

    /// The thread's last word: whatever was asked of it.
    func enter(_ last: Phase) {
        phase.store(last.rawValue)
        phase.wakeAll()
    }

    private func kick() {
        let target = kickTarget.load(ordering: .sequentiallyConsistent)
        if target != 0 { ccpu_kick_send(target) }
    }
}
