import AddressSpace
@testable import CPU
import Hypervisor
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing

/// vCPUs that share a counter as KVM's do: the host's less an offset of the machine, which a vCPU takes up when it enters the guest. The guest only reads it.
final class Ticking: AArch64VirtualCPU {
    final class Machine: Sendable {
        struct State {
            var host: UInt64 = 1000
            var offset: UInt64 = 0
            var inGuest = 0
            /// The highest value that any vCPU has seen.
            var seen: UInt64 = 0
            var wentBack = 0
            var setWhileRunning = 0
            var sets: [UInt64] = []
            var reads = 0
            var error: HypervisorError?

            /// A vCPU in the guest that took up `offset` reads its counter.
            mutating func look(_ offset: UInt64) {
                host += 1
                let now = host &- offset
                if now < seen { wentBack += 1 }
                seen = max(seen, now)
            }
        }
        let state = Mutex(State())
    }

    /// A vCPU without registers of aarch64.
    final class Foreign: VirtualCPU {
        var id: UInt32 { 0 }
        var immediateExitAddress: UInt { 0 }
        var x86: (any X86VirtualCPU)? { nil }
        func run() -> VCPUExit { .interrupted }
        func setImmediateExit(_ on: Bool) {}
        func portItem(_ index: Int) -> UInt32 { 0 }
        func setPortItem(_ index: Int, _ value: UInt32) {}
        func setMMIOValue(_ value: UInt64) {}
        func setMPState(_ state: MPState) throws(HypervisorError) {}
        func mpState() throws(HypervisorError) -> MPState { .runnable }
        func diagnosis() -> String { "" }
    }

    private let inner: TestVirtualCPU
    let machine: Machine

    init(id: UInt32, machine: Machine) {
        inner = TestVirtualCPU(id: id)
        self.machine = machine
    }

    /// The guest looks at its counter as it comes and as it goes; in between the vCPU waits for a kick.
    func run() -> VCPUExit {
        let offset = machine.state.withLock { state in
            state.inGuest += 1
            state.look(state.offset)
            return state.offset
        }
        let exit = inner.run()
        machine.state.withLock { state in
            state.look(offset)
            state.inGuest -= 1
        }
        return exit
    }

    func virtualCounter() throws(HypervisorError) -> UInt64 {
        let (error, value) = machine.state.withLock { state in
            state.reads += 1
            state.host += 1
            return (state.error, state.host &- state.offset)
        }
        if let error { throw error }
        return value
    }

    func setVirtualCounter(_ value: UInt64) throws(HypervisorError) {
        let error = machine.state.withLock { state in
            if state.error == nil {
                if state.inGuest > 0 { state.setWhileRunning += 1 }
                state.host += 1
                state.offset = state.host &- value
                state.sets.append(value)
            }
            return state.error
        }
        if let error { throw error }
    }

    var id: UInt32 { inner.id }
    var immediateExitAddress: UInt { inner.immediateExitAddress }
    var x86: (any X86VirtualCPU)? { nil }
    var aarch64: (any AArch64VirtualCPU)? { self }
    func setImmediateExit(_ on: Bool) { inner.setImmediateExit(on) }
    func portItem(_ index: Int) -> UInt32 { 0 }
    func setPortItem(_ index: Int, _ value: UInt32) {}
    func setMMIOValue(_ value: UInt64) {}
    func setMPState(_ state: MPState) throws(HypervisorError) {}
    func mpState() throws(HypervisorError) -> MPState { .runnable }
    func diagnosis() -> String { "" }
    func initialize(_ features: AArch64CPUFeatures, startsRunning: Bool) throws(HypervisorError) {}
    func mpidr() throws(HypervisorError) -> UInt64 { 0 }
    func setRegister(_ register: AArch64Register, _ value: UInt64) throws(HypervisorError) {}
    func register(_ register: AArch64Register) throws(HypervisorError) -> UInt64 { 0 }
    func enablePMU(interrupt: UInt32) throws(HypervisorError) {}
    func setStolenTime(address: UInt64) throws(HypervisorError) {}
}

@Suite struct SharedVirtualCounterTests {
    private let machine = Ticking.Machine()

    private func makeVCPUs(_ count: Int) throws -> [VCPU] {
        let topology = try CPUTopology(cpus: count)
        let reset = AArch64Reset(AArch64RegisterImage(), vcpus: count)
        return (0..<count).map { index in
            let vcpu = VCPU(
                id: index, virtualCPU: Ticking(id: UInt32(index), machine: machine), ports: nil, memory: AddressSpace(name: "memory", size: 1 << 20),
                topology: topology) { _, _ in }
            vcpu.prepare(reset)
            return vcpu
        }
    }

    private func pause(_ vcpus: [VCPU]) throws {
        for vcpu in vcpus { try vcpu.requestPause() }
        for vcpu in vcpus { try vcpu.waitUntilPaused(milliseconds: 60_000) }
    }

    private func resume(_ vcpus: [VCPU]) throws {
        for vcpu in vcpus { try vcpu.resume() }
        while machine.state.withLock({ $0.inGuest < vcpus.count }) { Clock.sleep(nanoseconds: 50_000) }
    }

    private func end(_ vcpus: [VCPU]) {
        for vcpu in vcpus { vcpu.stop() }
        for vcpu in vcpus { vcpu.join() }
    }

    @Test(arguments: [1, 2, 5]) func counter_ofAPausedMachine_standsStill(count: Int) throws {
        let vcpus = try makeVCPUs(count)
        for vcpu in vcpus { try vcpu.start() }
        for round in 1...20 {
            try pause(vcpus)
            machine.state.withLock { $0.host += 1 << 40 }
            try resume(vcpus)
            // Read once and set once for each pause, whatever the number of vCPUs.
            let state = machine.state.withLock { $0 }
            #expect(state.reads == round && state.sets.count == round)
            #expect(state.seen < 1 << 40)
        }
        let state = machine.state.withLock { $0 }
        #expect(state.wentBack == 0 && state.setWhileRunning == 0)
        #expect(state.sets == state.sets.sorted())
        end(vcpus)
    }

    @Test func counter_ofAMachineThatStartsPaused_begins_whereItWas() throws {
        let vcpus = try makeVCPUs(3)
        for vcpu in vcpus { try vcpu.start(paused: true) }
        for vcpu in vcpus { try vcpu.waitUntilPaused() }
        machine.state.withLock { $0.host += 1 << 40 }
        try resume(vcpus)
        #expect(machine.state.withLock { $0.seen } < 1 << 40)
        end(vcpus)
    }

    @Test func counter_whileOneVCPURuns_isLeftAlone() throws {
        let vcpus = try makeVCPUs(3)
        for vcpu in vcpus { try vcpu.start() }
        try pause(Array(vcpus[0...1]))
        machine.state.withLock { $0.host += 1 << 40 }
        for vcpu in vcpus[0...1] { try vcpu.resume() }
        try resume(vcpus)
        let state = machine.state.withLock { $0 }
        #expect(state.sets.isEmpty && state.reads == 0 && state.seen >= 1 << 40)
        end(vcpus)
    }

    /// The vCPU that resumes first puts it back; what was read is not used again by a later pause of some.
    @Test func counter_afterAResumeOfSome_isNotPutBackTwice() throws {
        let vcpus = try makeVCPUs(2)
        for vcpu in vcpus { try vcpu.start() }
        try pause(vcpus)
        try vcpus[1].resume()
        while machine.state.withLock({ $0.inGuest == 0 }) { Clock.sleep(nanoseconds: 50_000) }
        machine.state.withLock { $0.host += 1 << 40 }
        try resume(vcpus)
        let state = machine.state.withLock { $0 }
        // Time went on for the one that ran.
        #expect(state.sets.count == 1 && state.wentBack == 0 && state.setWhileRunning == 0 && state.seen >= 1 << 40)
        end(vcpus)
    }

    @Test func counter_underAStormOfCommands_neverGoesBack() throws {
        let vcpus = try makeVCPUs(4)
        for vcpu in vcpus { try vcpu.start() }
        let threads = try (0..<3).map { number in
            try OSThread.start(name: "commander") {
                for round in 0..<100 {
                    for vcpu in vcpus { if (number + round) % 2 == 0 { try? vcpu.requestPause() } else { try? vcpu.resume() } }
                    if round % 16 == 0 { Clock.sleep(nanoseconds: 100_000) }
                }
            }
        }
        for thread in threads { thread.join() }
        // However it ended, a pause and a resume of all are whole again.
        for vcpu in vcpus { try vcpu.resume() }
        try pause(vcpus)
        machine.state.withLock { $0.host += 1 << 40 }
        try resume(vcpus)
        let state = machine.state.withLock { $0 }
        #expect(state.wentBack == 0 && state.setWhileRunning == 0 && state.seen < 1 << 40)
        end(vcpus)
    }

    @Test func counter_thatKVMRefuses_letsTheGuestRunOn() throws {
        machine.state.withLock { $0.error = .unsupported("counters") }
        let vcpus = try makeVCPUs(2)
        for vcpu in vcpus { try vcpu.start() }
        try pause(vcpus)
        try resume(vcpus)
        #expect(vcpus.map(\.state) == [.running, .running])
        let state = machine.state.withLock { $0 }
        #expect(state.reads == 1 && state.sets.isEmpty)
        end(vcpus)
    }
}
