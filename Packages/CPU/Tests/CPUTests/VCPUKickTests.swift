import AddressSpace
@testable import CPU
import Hypervisor
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing

/// Lets a command arrive at one chosen moment of the run loop: just before or just after immediate_exit is cleared for the first time, or just
/// before the guest is entered.
private final class Interleaved: VirtualCPU {
    enum Moment: CaseIterable, Sendable { case beforeClear, afterClear, beforeRun }

    let inner = TestVirtualCPU(id: 0)
    private let moment: Moment
    private let command = Mutex<(@Sendable () -> Void)?>(nil)

    init(moment: Moment) { self.moment = moment }

    func arm(_ command: @escaping @Sendable () -> Void) { self.command.withLock { $0 = command } }

    private func reach(_ moment: Moment) {
        guard moment == self.moment else { return }
        let command = command.withLock { armed in
            defer { armed = nil }
            return armed
        }
        guard let command else { return }
        // Another thread commands; once it is joined its signal has reached this thread.
        try? OSThread.start(name: "commander") { command() }.join()
    }

    var id: UInt32 { 0 }
    var immediateExitAddress: UInt { inner.immediateExitAddress }
    var x86: (any X86VirtualCPU)? { inner }

    func setImmediateExit(_ on: Bool) {
        reach(.beforeClear)
        inner.setImmediateExit(on)
        reach(.afterClear)
    }

    func run() -> VCPUExit {
        reach(.beforeRun)
        return inner.run()
    }

    func portItem(_ index: Int) -> UInt32 { 0 }
    func setPortItem(_ index: Int, _ value: UInt32) {}
    func setMMIOValue(_ value: UInt64) {}
    func setMPState(_ state: MPState) throws(HypervisorError) {}
    func mpState() throws(HypervisorError) -> MPState { .runnable }
    func diagnosis() -> String { "" }
}

@Suite struct VCPUKickTests {
    @Test(arguments: Interleaved.Moment.allCases)
    fileprivate func kick_atEachMomentOfTheLoop_isNotLost(moment: Interleaved.Moment) throws {
        let cpu = Interleaved(moment: moment)
        let vcpu = VCPU(
            id: 0, virtualCPU: cpu, ports: nil, memory: AddressSpace(name: "memory", size: 1 << 20), topology: try CPUTopology()) { _, _ in }
        vcpu.prepare(X86RegisterImage())
        let asked = WaitWord()
        cpu.arm {
            try? vcpu.requestPause()
            asked.store(1)
            asked.wakeAll()
        }
        try vcpu.start()
        while asked.value == 0 { asked.wait(while: 0) }
        try vcpu.waitUntilPaused(milliseconds: 5000)
        try vcpu.resume()
        vcpu.stop()
        vcpu.join()
        #expect(vcpu.state == .stopped)
    }
}
