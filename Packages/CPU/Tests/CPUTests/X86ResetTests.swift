@testable import CPU
import Hypervisor
import HypervisorTesting
import Testing

@Suite struct X86ResetTests {
    @Test func segment_fromDescriptor_isUnpacked() {
        // The boot protocol's 64-bit code and data segments.
        let code = X86Segment(selector: 0x10, descriptor: 0x00AF_9B00_0000_FFFF)
        #expect(code == X86Segment(selector: 0x10, base: 0, limit: 0xFFFF_FFFF, attributes: 0xA09B))
        let data = X86Segment(selector: 0x18, descriptor: 0x00CF_9300_0000_FFFF)
        #expect(data == X86Segment(selector: 0x18, base: 0, limit: 0xFFFF_FFFF, attributes: 0xC093))
        let small = X86Segment(selector: 8, descriptor: 0x1200_8934_5678_0067)
        #expect(small == X86Segment(selector: 8, base: 0x1234_5678, limit: 0x67, attributes: 0x89))
    }

    @Test func apply_firstVCPU_setsCPUIDBeforeMSRsAndEverythingOnce() throws {
        let cpu = TestVirtualCPU(id: 0)
        cpu.x86State.supportedCPUID = X86CPUIDTests.intel
        var image = X86RegisterImage()
        (image.rip, image.rsp, image.rsi, image.cr3, image.efer) = (0x100_0000, 0x8FF0, 0x7000, 0x9000, 0x500)
        image.cs = X86Segment(selector: 0x10, limit: 0xFFFF_FFFF, attributes: 0xA09B)
        let topology = try CPUTopology()
        try X86Reset(image).apply(to: cpu, index: 0, topology: topology)
        let state = cpu.x86State
        #expect(state.calls == [.cpuid, .special, .general, .localInterrupts, .fpu, .msrs])
        #expect(state.cpuid == X86CPUID.entries(supported: X86CPUIDTests.intel, topology: topology, apicID: 0, tscDeadlineTimer: true))
        #expect((state.general.rip, state.general.rsp, state.general.rsi, state.general.rflags) == (0x100_0000, 0x8FF0, 0x7000, 2))
        #expect(state.special.cs == X86SegmentRegister(selector: 0x10, base: 0, limit: 0xFFFF_FFFF, attributes: 0xA09B))
        #expect((state.special.cr3, state.special.efer) == (0x9000, 0x500))
        #expect((state.controlWord, state.mxcsr) == (0x37F, 0x1F80))
        #expect((state.lint0, state.lint1) == (0x700, 0x400))
        #expect(try cpu.mpState() == .runnable)
        #expect(state.msrs.contains(MSREntry(index: 0x1A0, value: 1)))
        #expect(state.msrs.contains(MSREntry(index: 0x2FF, value: 0x806)))
        #expect(state.msrs.map(\.index).contains(0xC000_0082))
        #expect(state.msrs.count == 11)
    }

    @Test func apply_otherVCPU_waitsForTheFirst() throws {
        let cpu = TestVirtualCPU(id: 3)
        try X86Reset(X86RegisterImage()).apply(to: cpu, index: 3, topology: try CPUTopology(cpus: 4))
        #expect(try cpu.mpState() == .uninitialized)
        #expect(cpu.x86State.calls == [.cpuid, .fpu, .msrs])
    }

    @Test func apply_optionalMSRRefused_setsTheOthers() throws {
        let cpu = TestVirtualCPU(id: 0)
        cpu.x86State.refusedMSRs = [0x1A0, 0x10]
        try X86Reset(X86RegisterImage()).apply(to: cpu, index: 0, topology: try CPUTopology())
        #expect(cpu.x86State.msrs.count == 9)
        #expect(cpu.x86State.msrs.last?.index == 0x2FF)
    }

    @Test func apply_essentialMSRRefused_isAnError() throws {
        let cpu = TestVirtualCPU(id: 0)
        cpu.x86State.refusedMSRs = [0xC000_0082]
        let topology = try CPUTopology()
        let error = #expect(throws: HypervisorError.self) { try X86Reset(X86RegisterImage()).apply(to: cpu, index: 0, topology: topology) }
        #expect(error?.description == "KVM refuses to set MSR 0xc0000082")
    }
}
