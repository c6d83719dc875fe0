import AddressSpace
@testable import CPU
import Hypervisor
import HypervisorTesting
import Testing

@Suite struct AArch64ResetTests {
    @Test func image_ofAKernel_isWhatTheBootProtocolWants() {
        let image = AArch64RegisterImage(entry: 0x4020_0000, deviceTree: 0x4000_0000)
        #expect((image.pc, image.x0) == (0x4020_0000, 0x4000_0000))
        #expect((image.x1, image.x2, image.x3) == (0, 0, 0))
        // M[4:0] is EL1h, F, I, A and D are bits 6 to 9.
        #expect(image.pstate == 0b0101 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9)
        #expect(AArch64RegisterImage().pstate == image.pstate)
    }

    @Test func apply_firstVCPU_setsEachRegisterOnce() throws {
        let cpu = TestVirtualCPU(id: 0)
        let image = AArch64RegisterImage(entry: 0x4020_0000, deviceTree: 0x4000_0000)
        try AArch64Reset(image, vcpus: 2).apply(to: cpu, index: 0, topology: try CPUTopology(cpus: 2))
        #expect(cpu.aarch64State.calls == [
            .setRegister(.pstate, 0x3C5), .setRegister(.x(0), 0x4000_0000), .setRegister(.x(1), 0), .setRegister(.x(2), 0), .setRegister(.x(3), 0),
            .setRegister(.pc, 0x4020_0000),
        ])
        #expect(cpu.x86State.calls.isEmpty)
    }

    @Test func apply_otherVCPU_staysPoweredOff() throws {
        let cpu = TestVirtualCPU(id: 3)
        try AArch64Reset(AArch64RegisterImage(), vcpus: 4).apply(to: cpu, index: 3, topology: try CPUTopology(cpus: 4))
        #expect(cpu.aarch64State.calls.isEmpty)
        #expect(try cpu.mpState() == .runnable)
    }

    @Test func start_registerRefused_isToldAndTheGuestNeverRuns() throws {
        let scripted = try Scripted([.init(.halt)])
        scripted.cpu.aarch64State.error = .unsupported("this")
        scripted.vcpu.prepare(AArch64Reset(AArch64RegisterImage(), vcpus: 1))
        try scripted.vcpu.start()
        scripted.vcpu.join()
        #expect(scripted.reasons.all == [.resetFailed(.unsupported("this"))])
        #expect(scripted.cpu.runs == 0)
    }

    @Test func apply_vCPUOfAnotherArchitecture_isAnError() throws {
        let cpu = Ticking.Foreign()
        let topology = try CPUTopology()
        #expect(throws: HypervisorError.unsupported("aarch64 registers")) {
            try AArch64Reset(AArch64RegisterImage(), vcpus: 1).apply(to: cpu, index: 0, topology: topology)
        }
    }

    /// The double has both architectures' registers, so it would show whatever is touched.
    @Test func pause_ofAnX86VCPU_touchesNoRegister() throws {
        let scripted = try Scripted([])
        try scripted.vcpu.start(paused: true)
        try scripted.vcpu.waitUntilPaused()
        let before = scripted.cpu.x86State
        for _ in 0..<3 {
            try scripted.vcpu.resume()
            try scripted.vcpu.pause()
        }
        #expect(scripted.cpu.x86State == before)
        #expect(scripted.cpu.aarch64State == TestAArch64State())
        scripted.vcpu.stop()
        scripted.vcpu.join()
    }
}
