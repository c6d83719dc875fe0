import Foundation
import Hypervisor
import HypervisorTesting
import LinuxSys
import Machine
import MachineManager
import Synchronization

/// Collects events.
final class Events: MachineEventSink {
    private let list = Mutex<[MachineEvent]>([])
    var all: [MachineEvent] { list.withLock { $0 } }
    func emit(_ event: MachineEvent) { list.withLock { $0.append(event) } }
}

/// A microVM over the test hypervisor, with a kernel file of a few bytes.
final class Fixture {
    let folder: URL
    let loop: EventLoop
    let hypervisor = TestVirtualMachine()
    let events = Events()
    var config: VmConfig

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "machine-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        loop = try EventLoop()
        let kernel = folder.appending(path: "kernel").path(percentEncoded: false)
        try Data([0xeb, 0xfe, 0x90, 0x90]).write(to: URL(filePath: kernel))
        config = VmConfig(kernel: kernel)
        config.memory.size = 128 << 20
        config.boot.kernelArguments = "quiet"
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func addDisk(_ id: String) throws {
        config.drives.append(try drive(id))
        config.devices.append(.virtioBlock(VmConfig.VirtioBlock(drive: id)))
    }

    /// An image of 1 MiB.
    func drive(_ id: String) throws -> VmConfig.Drive {
        let path = folder.appending(path: id).path(percentEncoded: false)
        try Data(count: 1 << 20).write(to: URL(filePath: path))
        var drive = VmConfig.Drive(id: id, file: path)
        drive.isDirect = false
        return drive
    }

    func machine(realized: Bool = true) throws -> MicroVM {
        let machine = MicroVM(config, hypervisor: hypervisor, loop: loop)
        machine.reportEvents(to: events)
        if realized { try machine.realize() }
        return machine
    }

    func started() throws -> MicroVM {
        let machine = try machine()
        try machine.start()
        return machine
    }
}
