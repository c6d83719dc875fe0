import AddressSpace
import CPU
import Foundation
import Hypervisor
import HypervisorTesting
import LinuxSys
import MachineManager
import Testing

@testable import Machine

/// The microVM of the other architecture, over a hypervisor that runs nothing.
@Suite struct AArch64MachineTests {
    private let fixture: Fixture

    init() throws { fixture = try Fixture(AArch64Platform.self) }

    private func set(cpus: UInt32) {
        (fixture.config.processors.count, fixture.config.processors.maximum, fixture.config.processors.cores) = (cpus, cpus, cpus)
    }

    private func refusal() -> String {
        do {
            _ = try fixture.machine()
            return "realized"
        } catch { return "\(error)" }
    }

    /// KVM wants it so: vCPUs, then the interrupt controller, then what needs it; lines last.
    @Test func partsComeToLife_inTheOrderThatKVMWants() throws {
        set(cpus: 2)
        (fixture.config.cpu.hasPMU, fixture.config.cpu.hasSVE, fixture.config.cpu.hasStealTime) = (true, true, true)
        _ = try fixture.machine()
        let features = AArch64CPUFeatures(pmu: true, sve: true)
        let gic = try #require(fixture.hypervisor.aarch64Machine.gic)
        let first: [TestCall] = [
            .createVCPU(id: 0), .aarch64(vcpu: 0, .initialize(features, startsRunning: true)),
            .createVCPU(id: 1), .aarch64(vcpu: 1, .initialize(features, startsRunning: false)), .gic(gic, vcpus: 2),
            .aarch64(vcpu: 0, .enablePMU(interrupt: 23)), .aarch64(vcpu: 1, .enablePMU(interrupt: 23)),
            .aarch64(vcpu: 0, .setStolenTime(address: 0x90A_0000)), .aarch64(vcpu: 1, .setStolenTime(address: 0x90A_0040)),
        ]
        let calls = fixture.hypervisor.calls
        #expect(calls.prefix(first.count).elementsEqual(first))
        // Clock, power key, four disks, two network devices.
        #expect(calls.dropFirst(first.count).elementsEqual(([2, 7] + Array(32...37)).map { .interruptLine(gsi: $0) }))
        #expect(!fixture.hypervisor.hasIRQChip)
    }

    @Test func firstVCPU_startsInTheKernel_withTheTreeInX0() throws {
        set(cpus: 2)
        let machine = try fixture.started()
        try waitUntil { fixture.hypervisor.vcpus.allSatisfy { $0.runs > 0 } }
        machine.shutDown()
        let (first, second) = (fixture.hypervisor.vcpus[0].aarch64State, fixture.hypervisor.vcpus[1].aarch64State)
        #expect(first.registers[.pc] == 0x4020_0000 && first.registers[.x(0)] == 0x4000_0000 && first.registers[.pstate] == 0x3c5)
        #expect(second.registers.isEmpty)
        #expect(try machine.guestMemory.bytes(at: 0x4020_0000 + 56, count: 4) == Array("ARM\u{64}".utf8))
    }

    private func waitUntil(_ condition: () -> Bool) throws {
        for _ in 0..<2000 where !condition() { usleep(1000) }
        try #require(condition())
    }

    @Test(arguments: [(UInt32(1), ShutdownReason.guestShutdown), (2, .guestReset)])
    func psci_endsTheMachine(_ type: UInt32, _ reason: ShutdownReason) throws {
        fixture.hypervisor.setScript([.init(.systemEvent(type: type))], forVCPU: 0)
        let machine = try fixture.started()
        fixture.loop.run()
        machine.shutDown()
        #expect(machine.endReason == reason && reason.isGuest)
        #expect(fixture.events.all == [.shutdown(reason)])
    }

    @Test func pauseAndResume_holdTheCounterStill() throws {
        set(cpus: 2)
        let machine = try fixture.started()
        defer { machine.shutDown() }
        for vcpu in fixture.hypervisor.vcpus { vcpu.aarch64State.virtualCounter = 1234 }
        try waitUntil { fixture.hypervisor.vcpus.allSatisfy { $0.runs > 0 } }
        try machine.pause()
        #expect(machine.status() == .paused)
        let runs = fixture.hypervisor.vcpus.map(\.runs)
        try machine.resume()
        try waitUntil { zip(fixture.hypervisor.vcpus, runs).allSatisfy { $0.runs > $1 } }
        let calls = fixture.hypervisor.vcpus.flatMap(\.aarch64State.calls)
        #expect(calls.filter { $0 == .setVirtualCounter(1234) }.count == 1)
        #expect(fixture.events.all == [.stop, .resume])
    }

    @Test func powerdown_holdsTheKeyDown() throws {
        let machine = try fixture.started()
        defer { machine.shutDown() }
        // The driver of the PL061 listens for edges of pin 3: GPIOIBE, GPIOIE.
        machine.memory.write(at: 0x903_0408, size: 4, value: 8)
        machine.memory.write(at: 0x903_0410, size: 4, value: 8)
        let line = try #require(fixture.hypervisor.lines.first { $0.gsi == 7 })
        #expect(!line.level)
        try machine.requestPowerdown()
        #expect(line.level && machine.memory.read(at: 0x903_0020, size: 4) == 8)
        #expect(fixture.events.all == [.powerdown])
    }

    @Test func serialPort_isAPL011WithTheBootTimersWord() throws {
        let path = fixture.folder.appending(path: "serial").path(percentEncoded: false)
        fixture.config.serial = .init(id: "serial_chardev", backend: .file(path: path))
        fixture.hypervisor.setScript(
            [
                .init(.mmioWrite(address: 0x900_0000, size: 4, value: 0x41)), .init(.mmioWrite(address: 0x900_0F00, size: 4, value: 1)),
                .init(.systemEvent(type: 1)),
            ], forVCPU: 0)
        let machine = try fixture.started()
        fixture.loop.run()
        machine.shutDown()
        #expect(try Data(contentsOf: URL(filePath: path)) == Data([0x41]))
        let statistics = machine.statistics(of: StatisticsSource(.stratovirt, .vm))
        #expect(statistics.contains { $0.name == "boot-kernel" } && !statistics.contains { $0.name == "boot-init" })
    }

    @Test func clock_tellsTheTime() throws {
        let machine = try fixture.machine()
        let now = UInt64(Date().timeIntervalSince1970)
        let told = try #require(machine.memory.read(at: 0x901_0000, size: 4))
        #expect((now...now + 5).contains(told))
    }

    /// The hypervisor writes there, so it needs the memory; devices and back ends never get it.
    @Test func stolenTime_isTheHypervisorsAlone() throws {
        fixture.config.cpu.hasStealTime = true
        let machine = try fixture.machine()
        #expect(fixture.hypervisor.memory.ranges.contains { $0.base == 0x90A_0000 && $0.size == 0x1_0000 && $0.hostAddress != 0 && !$0.readOnly })
        #expect(!machine.guestMemory.isRAM(at: 0x90A_0000, count: 1))
        #expect(machine.guestMemory.writableMappings().map(\.base) == [1 << 30])
        #expect(try !Fixture(AArch64Platform.self).machine().memory.flatRanges().contains { $0.base == 0x90A_0000 })
    }

    @Test func whatTheHostLacks_isNamed() throws {
        var host = TestAArch64Machine()
        (host.hasPMU, host.hasSVE, host.hasStolenTime) = (false, false, false)
        fixture.hypervisor.aarch64Machine = host
        #expect(refusal() == "realized")
        fixture.hypervisor.aarch64Machine = host
        fixture.config.cpu.hasStealTime = true
        #expect(refusal() == "-cpu: kvm-steal-time=on: this host's KVM does not have it")
        fixture.config.cpu.hasSVE = true
        #expect(refusal() == "-cpu: sve=on: this host's KVM does not have it")
        fixture.config.cpu.hasPMU = true
        #expect(refusal() == "-cpu: pmu=on: this host's KVM does not have it")
    }

    @Test func gicVersion3_isRefusedWhereThereIsOnly2() throws {
        fixture.hypervisor.aarch64Machine.gicKind = .v2
        fixture.config.machine.gicVersion = .v3
        #expect(refusal() == "-machine: gic-version=3: this host's KVM has version 2 only")
        let other = try Fixture(AArch64Platform.self)
        other.config.machine.gicVersion = .v3
        _ = try other.machine()
    }

    @Test func memoryBeyondTheHostsAddresses_isRefusedBeforeItIsMade() {
        fixture.hypervisor.aarch64Machine.physicalAddressBits = 36
        fixture.config.memory.size = 64 << 30
        fixture.config.memory.path = "/none/ram"
        #expect(refusal() == "-m: RAM would end at 0x1040000000; guests of this host have addresses below 0x1000000000 only")
    }

    @Test func memoryDevices_lieBehindRAM_aroundTheHighRedistributors() throws {
        set(cpus: 124)
        for (id, size) in [("a", UInt64(254) << 30), ("b", UInt64(1) << 30)] {
            fixture.config.memoryBackends.append(.init(id: "b-\(id)", kind: .ram, size: size, isShared: false))
            fixture.config.devices.append(.virtioMem(.init(id: id, memdev: "b-\(id)")))
        }
        let machine = try fixture.machine()
        let gib: UInt64 = 1 << 30, block: UInt64 = 128 << 20
        #expect(machine.memoryDevices().map(\.address) == [2 * gib, 256 * gib + block])
    }

    @Test func x86_refusesWhatIsForAArch64() throws {
        let other = try Fixture(X86Platform.self)
        other.config.machine.gicVersion = .v3
        #expect { try other.machine() } throws: { "\($0)" == "-machine: gic-version=: for aarch64 machines only" }
        other.config.machine.gicVersion = nil
        other.config.machine.deviceTreeDump = "/none/x"
        #expect { try other.machine() } throws: { "\($0)" == "-machine: dumpdtb=: for aarch64 machines only" }
    }

    @Test func architecture_isThatOfThePlatform() throws {
        let (arm, x86) = (try fixture.machine(), try Fixture(X86Platform.self).machine())
        #expect(arm.architecture == .aarch64 && arm.gicVersion() == .v3)
        #expect(x86.architecture == .x86_64 && x86.gicVersion() == nil)
    }
}
