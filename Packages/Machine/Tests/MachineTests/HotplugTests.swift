import Devices
import Foundation
import MachineManager
import Testing
import Virtio

@testable import Machine

@Suite struct HotplugTests {
    private func message(_ body: () throws -> Void) -> String? {
        do { try body() } catch { return "\(error)" }
        return nil
    }

    @Test func everyMachine_hasFourDisksAndTwoNetworkDevicesFromItsStart() throws {
        let machine = try Fixture().machine()
        #expect(machine.blockSlots.map(\.transport.slot?.gsi) == [5, 6, 7, 9])
        #expect(machine.networkSlots.map(\.transport.slot?.gsi) == [10, 11])
        #expect(machine.blockSlots.first?.transport.slot?.base == 0xF010_0000)
        #expect(machine.devices().isEmpty)
    }

    @Test func disksOfTheCommandLine_fillSlotsInOrder_andTheFifthIsADeviceOfItsOwn() throws {
        let fixture = try Fixture()
        for id in ["a", "b", "c", "d", "e"] { try fixture.addDisk(id) }
        let machine = try fixture.machine()
        #expect(machine.blockSlots.map(\.occupant?.device) == ["a", "b", "c", "d"])
        #expect(machine.fixedDevices.map(\.info.id) == ["e"])
        #expect(message { try machine.removeDevice("e") } == "device 'e' is not in a slot and stays as long as the machine")
    }

    @Test func disk_isPluggedAndUnpluggedAnyNumberOfTimes() throws {
        let fixture = try Fixture()
        let drive = try fixture.drive("hot")
        let machine = try fixture.started()
        defer { machine.shutDown() }
        for _ in 0..<20 {
            try machine.addBlockNode(drive)
            try machine.addDevice(.block(VmConfig.VirtioBlock(drive: "hot"), slot: 2))
            #expect(machine.blockSlots[2].occupant?.device == "hot")
            #expect(machine.devices().map(\.id) == ["hot"])
            #expect(machine.blockNodes().map(\.size) == [1 << 20])
            #expect(message { try machine.removeBlockNode("hot") } == "the drive 'hot' is used by device 'hot'")
            try machine.removeDevice("hot")
            try machine.removeBlockNode("hot")
        }
        #expect(fixture.events.all.filter { $0 == .deviceDeleted(id: "hot", path: "/machine/peripheral/hot") }.count == 20)
        #expect(try openImages(fixture) == 0)
    }

    @Test func driveOfTheCommandLineWithoutADevice_isPluggedLater() throws {
        let fixture = try Fixture()
        fixture.config.drives.append(try fixture.drive("spare"))
        let machine = try fixture.started()
        defer { machine.shutDown() }
        #expect(machine.blockNodes().isEmpty)
        try machine.addDevice(.block(VmConfig.VirtioBlock(id: "disk", drive: "spare"), slot: nil))
        #expect(machine.blockSlots[0].occupant?.backend == "spare")
        try machine.removeDevice("disk")
        try machine.addDevice(.block(VmConfig.VirtioBlock(id: "disk", drive: "spare"), slot: 3))
    }

    @Test func everyMistakeWithSlots_hasItsSentence() throws {
        let fixture = try Fixture()
        for id in ["a", "b", "c"] { try fixture.addDisk(id) }
        let hot = try fixture.drive("hot"), more = try fixture.drive("more")
        let machine = try fixture.started()
        defer { machine.shutDown() }
        func plug(_ id: String, _ drive: String, _ slot: Int?) -> String? {
            message { try machine.addDevice(.block(VmConfig.VirtioBlock(id: id, drive: drive), slot: slot)) }
        }
        #expect(plug("x", "hot", 3) == "device 'x': there is nothing with the id 'hot'")
        try machine.addBlockNode(hot)
        #expect(message { try machine.addBlockNode(hot) } == "the drive id 'hot' is used already")
        #expect(plug("x", "hot", 4) == "there is no block slot 4: they count from 0 to 3")
        #expect(plug("x", "hot", -1) == "there is no block slot -1: they count from 0 to 3")
        #expect(plug("x", "hot", 1) == "block slot 1 is in use by device 'b'")
        #expect(plug("a", "hot", 3) == "the device id 'a' is used already")
        #expect(plug("x", "a", 3) == "'a' is used by device 'a' already")
        #expect(plug("x", "hot", nil) == nil)
        try machine.addBlockNode(more)
        #expect(plug("y", "more", nil) == "all 4 block slots are in use")
        #expect(message { try machine.removeDevice("nobody") } == "there is nothing with the id 'nobody'")
        #expect(message { try machine.removeBlockNode("nobody") } == "there is nothing with the id 'nobody'")
        #expect(message { try machine.removeNetdev("nobody") } == "there is nothing with the id 'nobody'")
        #expect(message { try machine.setLink("nobody", up: true) } == "there is nothing with the id 'nobody'")
        machine.requestQuit()
        #expect(message { try machine.removeDevice("x") } == "the virtual machine is shut down")
    }

    @Test func imageThatCannotBeOpened_leavesNothingBehind() throws {
        let fixture = try Fixture()
        let machine = try fixture.started()
        defer { machine.shutDown() }
        let missing = VmConfig.Drive(id: "gone", file: "/nonexistent/image")
        #expect(message { try machine.addBlockNode(missing) }?.contains("/nonexistent/image") == true)
        #expect(machine.blockNodes().isEmpty)
        #expect(message { try machine.removeBlockNode("gone") } == "there is nothing with the id 'gone'")
    }

    @Test func moreDevicesThanInterruptLines_areRefusedByName() throws {
        let fixture = try Fixture()
        for index in 0..<30 { try fixture.addDisk("disk\(index)") }
        let machine = try fixture.machine(realized: false)
        let text = message { try machine.realize() }
        #expect(text == "-device: no interrupt is left for device disk15: 17 devices fit", "\(text ?? "")")
    }

    /// Of images of this machine: other tests open files meanwhile.
    private func openImages(_ fixture: Fixture) throws -> Int {
        let names = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
        return names.count { (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + $0))?.contains(fixture.folder.lastPathComponent) == true }
    }
}
