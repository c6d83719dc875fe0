import Foundation
import Hypervisor
import HypervisorTesting
import LinuxSys
import MachineManager
import Synchronization

@testable import Machine

/// Collects events.
final class Events: MachineEventSink {
    private let list = Mutex<[MachineEvent]>([])
    var all: [MachineEvent] { list.withLock { $0 } }
    func emit(_ event: MachineEvent) { list.withLock { $0.append(event) } }
}

/// A microVM over the test hypervisor, of either architecture, with a kernel file of a few bytes.
final class Fixture {
    let folder: URL
    let loop: EventLoop
    let hypervisor = TestVirtualMachine()
    let events = Events()
    var config: VmConfig

    private let platform: any MachinePlatform.Type

    init(_ platform: any MachinePlatform.Type = X86Platform.self) throws {
        self.platform = platform
        folder = FileManager.default.temporaryDirectory.appending(path: "machine-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        loop = try EventLoop()
        let kernel = folder.appending(path: "kernel").path(percentEncoded: false)
        try Data(platform.architecture == .x86_64 ? [0xeb, 0xfe, 0x90, 0x90] : Self.arm64Image).write(to: URL(filePath: kernel))
        config = VmConfig(kernel: kernel)
        config.memory.size = 128 << 20
        config.boot.kernelArguments = "quiet"
        // Nothing listens there: the machine only needs to know that somebody could fill its slots.
        config.monitors = [.unix(path: folder.appending(path: "qmp").path(percentEncoded: false))]
    }

    /// An Image that branches to itself: header of 64 bytes, 1 MiB in memory, little endian, 4 KiB pages (booting.rst, "Call the kernel image").
    private static var arm64Image: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 64)
        bytes.replaceSubrange(0..<4, with: [0, 0, 0, 0x14])
        bytes[18] = 0x10
        bytes[24] = 0xa
        bytes.replaceSubrange(56..<60, with: "ARM\u{64}".utf8)
        return bytes
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
        let machine = MicroVM(config, hypervisor: hypervisor, loop: loop, platform: platform)
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
