public import AddressSpace
public import Hypervisor
internal import CCPU
internal import LinuxSys
internal import Synchronization

/// One vCPU and the thread that runs it, "CPU n/KVM". Every method may be called on any thread, and by several at once.
public final class VCPU: Sendable {
    /// The vCPU's index. Its hardware id is `virtualCPU.id`: on x86 `topology.apicID(of: id)`, elsewhere the same number.
    public let id: VCPUID
    let virtualCPU: any VirtualCPU
    let ports: AddressSpace?
    let memory: AddressSpace
    let topology: CPUTopology
    private let onExit: @Sendable (VCPUID, StopReason) -> Void

    /// Holds a `Phase`; threads sleep on it. Phases change by compare-and-exchange only, so no lock is needed to command a vCPU.
    let phase = WaitWord(Phase.created.rawValue)
    /// The kernel's id of the thread while kicks can reach it, 0 before and after.
    let kickTarget = Atomic<Int32>(0)
    private let lastThreadID = Atomic<Int32>(0)
    let exitCounters = VCPUExitCounters()
    private let reset = Mutex<(any VCPUReset)?>(nil)
    private let thread = Mutex<OSThread?>(nil)

    /// `onExit` is told, on the vCPU's thread, when the guest or the hypervisor ends the run, at most once and never after `stop` took effect. It
    /// must not wait for this vCPU; `stop` is fine. `ports` is the port space, of 64 KiB, on x86; nil where there are no ports.
    public init(
        id: VCPUID, virtualCPU: any VirtualCPU, ports: AddressSpace?, memory: AddressSpace, topology: CPUTopology,
        onExit: @escaping @Sendable (VCPUID, StopReason) -> Void
    ) {
        self.id = id
        self.virtualCPU = virtualCPU
        self.ports = ports
        self.memory = memory
        self.topology = topology
        self.onExit = onExit
    }

    /// Keeps what the vCPU's thread puts into the hypervisor when it starts.
    public func prepare(_ reset: any VCPUReset) { self.reset.withLock { $0 = reset } }

    public var state: VCPUState { Phase(phase.value).state }

    /// The thread's id in the kernel (gettid(2)); 0 before the thread has begun to run.
    public var threadID: Int32 { lastThreadID.load(ordering: .acquiring) }

    /// How often the guest was left, and why.
    public var exits: VCPUExitCounts { exitCounters.counts }

    /// What the hypervisor counts for the vCPU.
    public var statistics: [HypervisorStatistic] { virtualCPU.statistics() }

    var isOwnThread: Bool { kickTarget.load(ordering: .relaxed) == OSThread.currentID }

    /// Starts the thread, once. With `paused` the registers are set but no instruction runs before `resume`.
    public func start(paused: Bool = false) throws(CPUError) {
        guard let reset = reset.withLock({ $0 }) else { throw .notPrepared(id) }
        let installed = ccpu_kick_install()
        guard installed == 0 else { throw .cannotStart(id, Errno(Int32(truncatingIfNeeded: 0 &- installed))) }
        guard phase.exchange(Phase.created.rawValue, for: (paused ? Phase.pausing : Phase.running).rawValue) else { throw .wrongState(id, state) }
        // The lock makes `join` wait until there is something to join.
        let failure: Errno? = thread.withLock { thread in
            do throws(Errno) {
                thread = try OSThread.start(name: "CPU \(id)/KVM") { [self] in main(reset) }
                return nil
            } catch {
                return error
            }
        }
        if let failure {
            enter(.stopped)
            throw .cannotStart(id, failure)
        }
    }

    /// Waits until the thread has ended; returns at once when it never started, and on the vCPU's own thread. Does not itself stop the vCPU.
    public func join() {
        if isOwnThread { return }
        // Held while waiting: each of several callers returns only when the thread is gone.
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }

    private func main(_ reset: any VCPUReset) {
        ccpu_kick_attach(virtualCPU.immediateExitAddress)
        let own = OSThread.currentID
        lastThreadID.store(own, ordering: .releasing)
        kickTarget.store(own, ordering: .sequentiallyConsistent)
        Trace.emit(.vcpuStart, "", UInt64(clamping: id))
        var reason: StopReason?
        do throws(HypervisorError) {
            try reset.apply(to: virtualCPU, index: id, topology: topology)
            ProgramMemory.releaseStack()
            reason = loop(reset)
        } catch {
            reason = .resetFailed(error)
        }
        Trace.emit(.vcpuStop, reason.map { "\($0)" } ?? "", UInt64(clamping: id))
        if let reason { onExit(id, reason) }
        // From here on a kick could reach another thread that was given the same id: harmless, since the handler only knows its own thread's vCPU.
        kickTarget.store(0, ordering: .sequentiallyConsistent)
        ccpu_kick_detach()
        enter(.stopped)
    }
}
