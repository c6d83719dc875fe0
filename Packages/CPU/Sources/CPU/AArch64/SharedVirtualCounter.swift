internal import Hypervisor
internal import LinuxSys
internal import Synchronization

/// The virtual counter (CNTVCT_EL0) of a machine, from which the guest takes its time and which must stand still while the machine is paused.
///
/// In KVM it is the host's counter less an offset that all vCPUs of a machine share: a counter that is set through one vCPU changes for all (kernel
/// arch/arm64/kvm/arch_timer.c; a field of the machine since 6.4, a loop over all vCPUs before). Two things follow. It is set once, not by each vCPU, which
/// would push the offset on a little every time. And it is set only while no vCPU is in the guest: a processor takes up a new offset when it next enters the
/// guest, so until then two vCPUs would read different times, and one of them would see time go back.
///
/// So it stands still from the moment when the last vCPU pauses, which reads it, to that when the first one resumes, which puts it back. No instruction of
/// the guest comes in between, hence no vCPU sees a counter below one that any has seen. Where only some vCPUs pause nothing is done.
final class SharedVirtualCounter: Sendable {
    private struct State {
        var asleep = 0
        /// What it was when the last vCPU paused; nil when it could not be read.
        var value: UInt64?
    }

    private let vcpus: Int
    private let state = Mutex(State())

    init(vcpus: Int) { self.vcpus = vcpus }

    /// The vCPU, on its own thread, executes nothing from now on.
    func pauses(_ virtualCPU: any VirtualCPU) {
        report(state.withLock { state in
            state.asleep += 1
            guard state.asleep == vcpus else { return nil }
            return attempt { () throws(HypervisorError) in state.value = try virtualCPU.aarch64?.virtualCounter() }
        })
    }

    /// The vCPU, on its own thread, runs as soon as this returns. The lock makes those that wake up with the first one wait until the counter is set.
    func resumes(_ virtualCPU: any VirtualCPU) {
        report(state.withLock { state in
            defer {
                state.asleep -= 1
                state.value = nil
            }
            guard state.asleep == vcpus, let value = state.value else { return nil }
            return attempt { () throws(HypervisorError) in try virtualCPU.aarch64?.setVirtualCounter(value) }
        })
    }

    private func attempt(_ body: () throws(HypervisorError) -> Void) -> HypervisorError? {
        do throws(HypervisorError) {
            try body()
            return nil
        } catch { return error }
    }

    /// A guest whose clock goes on through a pause still runs.
    private func report(_ error: HypervisorError?) {
        if let error { Log.warn("the guest's counter does not stand still during a pause: \(error)") }
    }
}
