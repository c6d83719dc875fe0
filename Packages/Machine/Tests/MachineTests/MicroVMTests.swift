import AddressSpace
import Foundation
import Hypervisor
import HypervisorTesting
import LinuxSys
import Machine
import MachineManager
import Synchronization
import Testing

@Suite struct MicroVMTests {
    @Test(arguments: [(128, [(0, 128)]), (3072, [(0, 3072)]), (3073, [(0, 3072), (4096, 1)]), (5120, [(0, 3072), (4096, 2048)])])
    func ram_leavesTheGapBelow4GiBFree(_ size: Int, _ expected: [(Int, Int)]) throws {
        let fixture = try Fixture()
        fixture.config.memory.size = UInt64(size) << 20
        let machine = try fixture.machine()
        let ranges = machine.guestMemory.ramRanges().map { (Int($0.base >> 20), Int($0.size >> 20)) }
        #expect(ranges.elementsEqual(expected, by: ==))
    }

    @Test func kernelWithoutACPI_findsItsDisksByWordsOnTheCommandLine() throws {
        let fixture = try Fixture()
        try fixture.addDisk("a")
        try fixture.addDisk("b")
        let machine = try fixture.machine()
        let text = try machine.guestMemory.bytes(at: 0x20000, count: 400).prefix { $0 != 0 }
        // Four slots for disks, two for network devices; 8 is the clock's.
        let words = [5, 6, 7, 9, 10, 11].enumerated().map { "virtio_mmio.device=512@0x\(String(0xf010_0000 + 0x200 * $0, radix: 16)):\($1)" }
        #expect(String(decoding: text, as: UTF8.self) == (["quiet"] + words).joined(separator: " "))
    }

    @Test(arguments: [0, 1, 2]) func withoutQMP_thereAreNoEmptySlots(_ disks: Int) throws {
        let fixture = try Fixture()
        fixture.config.monitors = []
        for index in 0..<disks { try fixture.addDisk("d\(index)") }
        let machine = try fixture.machine()
        let text = try machine.guestMemory.bytes(at: 0x20000, count: 400).prefix { $0 != 0 }
        let words = ["virtio_mmio.device=512@0xf0100000:5", "virtio_mmio.device=512@0xf0100200:6"].prefix(disks)
        #expect(String(decoding: text, as: UTF8.self) == (["quiet"] + words).joined(separator: " "))
        #expect(machine.devices().map(\.id) == (0..<disks).map { "d\($0)" })
    }

    @Test func kernelWithACPI_findsTheRootPointerWhereTheZeroPageSays() throws {
        let machine = try Fixture().machine()
        #expect(try machine.guestMemory.load(UInt64.self, at: 0x7000 + 0x70) == 0xe0000)
        #expect(try machine.guestMemory.bytes(at: 0xe0000, count: 8) == Array("RSD PTR ".utf8))
    }

    @Test func secondRealizeOrStart_isRefused() throws {
        let machine = try Fixture().machine()
        #expect(throws: MachineError.self) { try machine.realize() }
        try machine.start()
        #expect(throws: MachineError.self) { try machine.start() }
        machine.shutDown()
    }

    @Test func pauseAndResume_changeStateAndTellOnce() throws {
        let fixture = try Fixture()
        let machine = try fixture.started()
        defer { machine.shutDown() }
        #expect(machine.status() == .running)
        try machine.pause()
        try machine.pause()
        #expect(machine.status() == .paused)
        try machine.resume()
        #expect(throws: MachineControlError.self) { try machine.resume() }
        #expect(machine.status() == .running)
        #expect(fixture.events.all == [.stop, .resume])
    }

    @Test func frozenMachine_isPausedFromTheStart() throws {
        let fixture = try Fixture()
        fixture.config.startsPaused = true
        let machine = try fixture.started()
        defer { machine.shutDown() }
        #expect(machine.status() == .paused)
        try machine.resume()
        #expect(machine.status() == .running)
    }

    @Test func quit_endsTheLoopWithItsReason_andTheFirstReasonCounts() throws {
        let fixture = try Fixture()
        let machine = try fixture.started()
        machine.requestQuit()
        machine.end(.signal(15))
        fixture.loop.run()
        machine.shutDown()
        machine.shutDown()
        #expect(machine.status() == .shutdown)
        #expect(machine.endReason == .quitCommand)
        #expect(fixture.events.all == [.shutdown(.quitCommand)])
        #expect(throws: MachineControlError.self) { try machine.pause() }
        #expect(throws: MachineControlError.self) { try machine.requestReset() }
    }

    @Test func reset_isTheEndOfAMicroVM() throws {
        let fixture = try Fixture()
        let machine = try fixture.started()
        try machine.requestReset()
        fixture.loop.run()
        machine.shutDown()
        #expect(fixture.events.all == [.reset(guest: false), .shutdown(.resetCommand)])
    }

    @Test(arguments: [(UInt16(0x64), UInt8(0xfe), ShutdownReason.guestReset), (0xcf9, 0x06, .guestReset), (0xce9, 0x34, .guestShutdown)])
    func guestsPowerRegisters_endTheMachine(_ port: UInt16, _ value: UInt8, _ reason: ShutdownReason) throws {
        let fixture = try Fixture()
        fixture.hypervisor.setScript([.init(.portOut(port: port, size: 1, count: 1), items: [UInt32(value)])], forVCPU: 0)
        let machine = try fixture.started()
        fixture.loop.run()
        machine.shutDown()
        #expect(machine.endReason == reason)
        #expect(reason.isGuest)
    }

    @Test func vcpuThatCannotGoOn_endsTheMachineWithAFailure() throws {
        let fixture = try Fixture()
        fixture.hypervisor.setScript([.init(.internalError(suberror: 1))], forVCPU: 0)
        let machine = try fixture.started()
        fixture.loop.run()
        machine.shutDown()
        guard case .failure(let sentence) = machine.endReason else {
            Issue.record("ended with \(String(describing: machine.endReason))")
            return
        }
        #expect(sentence.hasPrefix("vCPU 0: KVM cannot emulate an instruction"))
    }

    @Test func powerdown_raisesTheButtonsInterrupt() throws {
        let fixture = try Fixture()
        let machine = try fixture.started()
        defer { machine.shutDown() }
        try machine.requestPowerdown()
        #expect(fixture.hypervisor.lines.contains { $0.gsi == 16 && $0.pulses == 1 })
        #expect(fixture.events.all == [.powerdown])
    }

    @Test func cpus_standInTheirPlaces() throws {
        let fixture = try Fixture()
        fixture.config.processors.count = 3
        fixture.config.processors.maximum = 4
        fixture.config.processors.sockets = 2
        fixture.config.processors.cores = 2
        let machine = try fixture.started()
        defer { machine.shutDown() }
        #expect(machine.cpus().map(\.place) == [CPUPlace(socket: 0, die: 0, core: 0, thread: 0), CPUPlace(socket: 0, die: 0, core: 1, thread: 0),
                                               CPUPlace(socket: 1, die: 0, core: 0, thread: 0)])
        #expect(machine.cpuSlots().map(\.cpu) == [0, 1, 2, nil])
    }

    @Test func missingKernelOrDrive_namesTheFile() throws {
        let fixture = try Fixture()
        fixture.config.boot.kernel = "/none"
        #expect { try fixture.machine() } throws: { "\($0)" == "kernel '/none': No such file or directory" }
        let other = try Fixture()
        other.config.drives = [VmConfig.Drive(id: "d", file: "/none")]
        other.config.devices = [.virtioBlock(VmConfig.VirtioBlock(drive: "d"))]
        #expect { try other.machine() } throws: { "\($0)" == "-drive: cannot open drive '/none': No such file or directory" }
    }
}
