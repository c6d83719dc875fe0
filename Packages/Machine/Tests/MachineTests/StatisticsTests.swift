import AddressSpace
import Foundation
import Hypervisor
import HypervisorTesting
import LinuxSys
import Machine
import MachineManager
import Testing

@Suite struct StatisticsTests {
    private func value(_ machine: MicroVM, _ source: StatisticsSource, _ name: String) -> Statistic.Value? {
        machine.statistics(of: source).first { $0.name == name }?.value
    }

    private let firstCPU = StatisticsSource(.stratovirt, .vcpu, path: "/machine/unattached/device[0]")

    @Test func exits_areThoseOfTheVCPU() throws {
        let fixture = try Fixture()
        fixture.hypervisor.setScript(
            [.init(.portIn(port: 0x61, size: 1, count: 1)), .init(.mmioRead(address: 0xe000_0000, size: 4)), .init(.portOut(port: 0x64, size: 1, count: 1), items: [0xfe])],
            forVCPU: 0)
        let machine = try fixture.started()
        fixture.loop.run()
        machine.shutDown()
        #expect(value(machine, firstCPU, "pio-reads") == .scalar(1))
        #expect(value(machine, firstCPU, "pio-writes") == .scalar(1))
        #expect(value(machine, firstCPU, "mmio-reads") == .scalar(1))
        guard case .scalar(let total) = value(machine, firstCPU, "exits") else { throw MachineControlError.failed("no exits") }
        #expect(total >= 3)
    }

    @Test func hypervisorsStatistics_keepTheirMeaning() throws {
        let fixture = try Fixture()
        let machine = try fixture.machine()
        let histogram = HypervisorStatistic(name: "hist", kind: .linearHistogram(bucketSize: 8), unit: .cycles, base: 2, exponent: 3, values: [1, 2])
        fixture.hypervisor.setStatistics([histogram])
        fixture.hypervisor.vcpus[0].setStatistics([
            HypervisorStatistic(name: "blocking", kind: .instant, unit: .boolean, values: [1]), HypervisorStatistic(name: "exits", kind: .cumulative, values: [.max]),
        ])
        #expect(
            machine.statistics(of: StatisticsSource(.kvm, .vm))
                == [Statistic("hist", .list([1, 2]), kind: .linearHistogram(bucketSize: 8), unit: .cycles, base: 2, exponent: 3)])
        #expect(
            machine.statistics(of: StatisticsSource(.kvm, .vcpu, path: firstCPU.path))
                == [Statistic("blocking", .boolean(true), kind: .instant, unit: .boolean), .count("exits", .max)])
        // What is not there, or not any more.
        for path in [nil, "", "/machine", "/machine/unattached/device[9]", "/machine/peripheral/none"] as [String?] {
            for target in [StatisticsTarget.vcpu, .device] {
                #expect(machine.statistics(of: StatisticsSource(.kvm, target, path: path)).isEmpty)
                #expect(machine.statistics(of: StatisticsSource(.stratovirt, target, path: path)).isEmpty)
            }
        }
    }

    @Test func devices_areThoseThatAreThereNow() throws {
        let fixture = try Fixture()
        try fixture.addDisk("d")
        fixture.config.rngSources = [VmConfig.RngSource(id: "r", filename: "/dev/urandom")]
        fixture.config.devices.append(.virtioRng(VmConfig.VirtioRng(id: "entropy", rng: "r")))
        let machine = try fixture.machine()
        func paths() -> [String?] { machine.statisticsSources(.device).map(\.path) }
        #expect(paths() == ["/machine/peripheral/d", "/machine/peripheral/entropy"])
        #expect(machine.statisticsSources(.device).allSatisfy { $0.provider == .stratovirt })
        for source in machine.statisticsSources(.device) {
            #expect(value(machine, source, "requests") == .scalar(0))
            #expect(value(machine, source, "queue-requests") == .list([0]))
            #expect(value(machine, source, "activations") == .scalar(0))
        }
        try machine.addBlockNode(try fixture.drive("e"))
        try machine.addDevice(.block(VmConfig.VirtioBlock(id: "second", drive: "e"), slot: nil))
        #expect(paths() == ["/machine/peripheral/d", "/machine/peripheral/second", "/machine/peripheral/entropy"])
        try machine.removeDevice("second")
        #expect(paths() == ["/machine/peripheral/d", "/machine/peripheral/entropy"])
    }

    /// Registers of the first slot, touched as a vCPU would.
    @Test func deviceCounters_followTheGuest() throws {
        let fixture = try Fixture()
        try fixture.addDisk("d")
        let base: UInt64 = 0xf010_0000
        let writes: [(UInt64, UInt64)] = [(0x70, 0), (0x70, 1), (0x08, 7), (0x70, 77), (0x70, 0)]
        let script = writes.map { TestVirtualCPU.Step(.mmioWrite(address: base + $0.0, size: 4, value: $0.1)) }
        fixture.hypervisor.setScript(script + [.init(.portOut(port: 0x64, size: 1, count: 1), items: [0xfe])], forVCPU: 0)
        let machine = try fixture.started()
        fixture.loop.run()
        let disk = StatisticsSource(.stratovirt, .device, path: "/machine/peripheral/d")
        #expect(value(machine, disk, "resets") == .scalar(2))
        #expect(value(machine, disk, "ignored-accesses") == .scalar(2))
        machine.shutDown()
    }

    @Test func bootTimer_isSetByTheGuest() throws {
        let fixture = try Fixture()
        let written: [UInt32] = [1, 2, 1]
        fixture.hypervisor.setScript(
            written.map { .init(.portOut(port: 0x3ff, size: 1, count: 1), items: [$0]) } + [.init(.portOut(port: 0x64, size: 1, count: 1), items: [0xfe])], forVCPU: 0)
        let machine = try fixture.machine()
        let vm = StatisticsSource(.stratovirt, .vm)
        #expect(machine.statistics(of: vm).map(\.name) == ["uptime", "trace-lines-left-out"])
        try machine.start()
        fixture.loop.run()
        machine.shutDown()
        let statistics = machine.statistics(of: vm)
        #expect(statistics.map(\.name) == ["boot-kernel", "boot-init", "uptime", "trace-lines-left-out"])
        let marks = statistics.filter { $0.unit == .seconds && $0.exponent == -9 && $0.kind == .instant }
        let times = marks.compactMap { if case .scalar(let time) = $0.value { time } else { nil } }
        #expect(times.count == 3 && times == times.sorted())
    }

    @Test func diskStatistics_areZeroBeforeTheGuestUsesIt() throws {
        let fixture = try Fixture()
        try fixture.addDisk("d")
        let machine = try fixture.machine()
        #expect(machine.blockNodes().map(\.statistics) == [BlockNodeStatistics()])
    }
}
