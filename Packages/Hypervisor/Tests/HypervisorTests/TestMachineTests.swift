import Hypervisor
import HypervisorTesting
import Testing

/// The doubles that other packages' tests trust.
@Suite struct TestMachineTests {
    private let layout = GICLayout(
        distributor: 0x800_0000, cpuInterface: 0x801_0000, its: 0x808_0000, redistributors: [.init(base: 0x80A_0000, count: 123)], lines: 256)

    @Test func calls_ofMachineAndVCPUs_areInOneOrder() throws {
        let machine = TestVirtualMachine()
        let arm = try #require((machine as any VirtualMachine).aarch64)
        let cpu = try #require(try machine.createVCPU(id: 7).aarch64)
        #expect(throws: HypervisorError.self) { try arm.createGIC(layout, vcpus: 1) }
        try cpu.initialize(AArch64CPUFeatures(pmu: true), startsRunning: true)
        #expect(throws: HypervisorError.self) { try arm.createGIC(layout, vcpus: 2) }
        #expect(try arm.createGIC(layout, vcpus: 1) == .v3(hasITS: true))
        #expect(throws: HypervisorError.self) { try arm.createGIC(layout, vcpus: 1) }
        try cpu.enablePMU(interrupt: 23)
        try cpu.setRegister(.pc, 4)
        #expect(try cpu.register(.pc) == 4)
        _ = try machine.makeInterruptLine(gsi: 223)
        #expect(throws: HypervisorError.noSuchInterruptLine(gsi: 224, limit: 224)) { try machine.makeInterruptLine(gsi: 224) }
        #expect(machine.calls == [
            .createVCPU(id: 7), .aarch64(vcpu: 7, .initialize(AArch64CPUFeatures(pmu: true), startsRunning: true)), .gic(layout, vcpus: 1),
            .aarch64(vcpu: 7, .enablePMU(interrupt: 23)), .aarch64(vcpu: 7, .setRegister(.pc, 4)), .interruptLine(gsi: 223),
        ])
    }

    @Test func interruptLines_withoutAGIC_areAsManyAsWereAskedFor() throws {
        #expect(throws: HypervisorError.noSuchInterruptLine(gsi: 24, limit: 24)) { try TestVirtualMachine().makeInterruptLine(gsi: 24) }
        _ = try TestVirtualMachine(interruptLines: 224).makeInterruptLine(gsi: 223)
    }
}
