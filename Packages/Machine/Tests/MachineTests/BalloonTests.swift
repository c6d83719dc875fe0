import Hypervisor
import HypervisorTesting
import LinuxSys
import Machine
import MachineManager
import Testing

@Suite struct BalloonTests {
    /// Behind four disks and two network devices; the configuration space begins at 0x100 (virtio 1.2, section 4.2.2).
    private static let configuration: UInt64 = 0xf010_0000 + 6 * 0x200 + 0x100

    private func fixture(_ balloon: VmConfig.VirtioBalloon = .init(id: "b"), actual: [UInt64] = []) throws -> Fixture {
        let fixture = try Fixture()
        fixture.config.devices.append(.virtioBalloon(balloon))
        // What the driver says is in the balloon.
        fixture.hypervisor.setScript(actual.map { .init(.mmioWrite(address: Self.configuration + 4, size: 4, value: $0)) }, forVCPU: 0)
        return fixture
    }

    /// Turns the loop until `condition` holds, at most ten seconds.
    private func wait(_ fixture: Fixture, until condition: () -> Bool) -> Bool {
        let end = Clock.monotonicNanoseconds() + 10_000_000_000
        while !condition(), Clock.monotonicNanoseconds() < end { fixture.loop.runOnce(timeoutMilliseconds: 10) }
        return condition()
    }

    @Test func machineWithoutBalloon_hasNone() throws {
        let machine = try Fixture().started()
        defer { machine.shutDown() }
        #expect(machine.balloon() == nil)
        machine.setBalloon(1)
        machine.setBalloonPolling(1)
    }

    @Test func balloon_isADeviceWithItsProperties() throws {
        var config = VmConfig.VirtioBalloon(id: "b")
        config.deflatesOnOOM = true
        config.reportsFreePages = true
        config.auto = .init()
        let machine = try fixture(config).started()
        defer { machine.shutDown() }
        #expect(machine.devices() == [DeviceInfo(id: "b", driver: "virtio-balloon-device")])
        let expected = BalloonInfo(
            id: "b", actual: 128 << 20, deflatesOnOOM: true, reportsFreePages: true, statistics: [UInt64?](repeating: nil, count: 10))
        #expect(machine.balloon() == expected)
        machine.setBalloonPolling(7)
        #expect(machine.balloon()?.pollingInterval == 7)
    }

    @Test func setSize_isWhatTheGuestReads() throws {
        let fixture = try fixture()
        fixture.hypervisor.setScript([.init(.mmioRead(address: Self.configuration, size: 4))], forVCPU: 0)
        let machine = try fixture.machine()
        machine.setBalloon(100 << 20)
        try machine.start()
        defer { machine.shutDown() }
        #expect(wait(fixture) { !fixture.hypervisor.vcpus[0].mmioAnswers.isEmpty })
        #expect(fixture.hypervisor.vcpus[0].mmioAnswers == [28 << 8])
    }

    @Test func changesOfTheSize_areToldAtOnce_andThenOnceASecond() throws {
        let fixture = try fixture(actual: [0x100, 0x200, 0x300] + (0..<1000).map { $0 } + [0x1000])
        let machine = try fixture.started()
        defer { machine.shutDown() }
        #expect(wait(fixture) { machine.balloon()?.actual == 112 << 20 })
        let start = Clock.monotonicNanoseconds()
        #expect(wait(fixture) { fixture.events.all.last == .balloonChanged(actual: 112 << 20) })
        // A guest that writes as fast as it can: one event at once, and one for all the rest a second later.
        #expect(fixture.events.all.count <= 2)
        let told = fixture.events.all.count
        // The last is never told twice.
        while Clock.monotonicNanoseconds() < start + 2_200_000_000 { fixture.loop.runOnce(timeoutMilliseconds: 50) }
        #expect(fixture.events.all.count == told)
    }

    @Test func guestThatClaimsMoreThanThereIs_hasNothingLeft() throws {
        let fixture = try fixture(actual: [0xffff_ffff])
        let machine = try fixture.started()
        defer { machine.shutDown() }
        #expect(wait(fixture) { fixture.events.all == [.balloonChanged(actual: 0)] })
        #expect(machine.balloon()?.actual == 0)
    }
}
