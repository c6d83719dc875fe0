import MachineManager
import Testing
import Virtio

@testable import Machine

/// What drives and their devices say about limits, queues and caches reaches the disk.
@Suite struct DriveTests {
    private var limits: VmConfig.Throttle {
        var limits = VmConfig.Throttle()
        limits[.requestsTotal].average = 100
        limits[.requestsTotal].burst = 200
        limits[.requestsTotal].burstSeconds = 3
        limits[.bytesWrite].average = 1 << 20
        limits.requestSize = 4096
        return limits
    }

    @Test func limits_ofADrive_changeWithAndWithoutItsDevice() throws {
        let fixture = try Fixture()
        let drive = try fixture.drive("hot")
        let machine = try fixture.started()
        defer { machine.shutDown() }
        try machine.addBlockNode(drive)
        try machine.setThrottle("hot", limits)
        #expect(machine.blockNodes().map(\.drive.throttle) == [limits])
        try machine.addDevice(.block(VmConfig.VirtioBlock(id: "disk", drive: "hot"), slot: 1))
        try machine.setThrottle("disk", VmConfig.Throttle())
        #expect(machine.blockNodes().map(\.drive.throttle.isUnlimited) == [true])
        try machine.setThrottle("hot", limits)
        try machine.removeDevice("disk")
        // The next opening has them from its start.
        try machine.addDevice(.block(VmConfig.VirtioBlock(id: "disk", drive: "hot"), slot: 1))
        #expect(machine.blockNodes().map(\.drive.throttle) == [limits])
        #expect(throws: MachineControlError.deviceNotFound("ghost")) { try machine.setThrottle("ghost", limits) }
    }

    @Test func queues_areThoseOfTheCommandLine_whateverIsPluggedLater() throws {
        let fixture = try Fixture()
        try fixture.addDisk("a")
        guard case .virtioBlock(var device)? = fixture.config.devices.last else { return #expect(Bool(false)) }
        device.queueCount = 4
        fixture.config.devices[fixture.config.devices.count - 1] = .virtioBlock(device)
        let machine = try fixture.started()
        defer { machine.shutDown() }
        #expect(machine.blockSlots.map(\.transport.statistics.queues.count) == [4, 1, 1, 1])
        try machine.removeDevice("a")
        try machine.addDevice(.block(VmConfig.VirtioBlock(drive: "a"), slot: 0))
        #expect(machine.blockSlots[0].transport.statistics.queues.count == 4)
    }

    @Test func engine_isTold_andOneThatTheHostCannotHaveIsASentence() throws {
        let fixture = try Fixture()
        var drive = try fixture.drive("hot")
        (drive.asyncIO, drive.isDirect) = (.off, false)
        let machine = try fixture.started()
        defer { machine.shutDown() }
        try machine.addBlockNode(drive)
        #expect(machine.blockNodes().map(\.engine) == [.off])
        try machine.removeBlockNode("hot")
        drive.asyncIO = .native
        #expect(throws: MachineControlError.failed("aio=native of drive '\(drive.file)' needs direct=on")) { try machine.addBlockNode(drive) }
    }
}
