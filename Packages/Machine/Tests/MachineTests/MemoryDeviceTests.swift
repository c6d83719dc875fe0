import AddressSpace
import Foundation
import Hypervisor
import HypervisorTesting
import LinuxSys
import MachineManager
import Testing

@testable import Machine

@Suite struct MemoryDeviceTests {
    private let fixture: Fixture

    init() throws { fixture = try Fixture() }

    private func addMemory(_ id: String, size: UInt64 = 1 << 30, requested: UInt64 = 0, shared: Bool = false, _ change: (inout VmConfig.VirtioMem) -> Void = { _ in }) {
        fixture.config.memoryBackends.append(.init(id: "b-\(id)", kind: shared ? .memfd : .ram, size: size, isShared: shared))
        var device = VmConfig.VirtioMem(id: id, memdev: "b-\(id)")
        device.requestedSize = requested
        change(&device)
        fixture.config.devices.append(.virtioMem(device))
    }

    @discardableResult
    private func addFile(_ id: String, size: UInt64 = 4 << 20, readOnly: Bool = false, address: UInt64? = nil) throws -> String {
        let path = fixture.folder.appending(path: id).path(percentEncoded: false)
        try Data(repeating: 0x42, count: Int(size)).write(to: URL(filePath: path))
        var backend = VmConfig.MemoryBackend(id: "b-\(id)", kind: .file(path: path), size: size, isShared: true)
        backend.isReadOnly = readOnly
        fixture.config.memoryBackends.append(backend)
        var device = VmConfig.VirtioPmem(id: id, memdev: "b-\(id)")
        device.address = address
        fixture.config.devices.append(.virtioPmem(device))
        return path
    }

    private func sentence() -> String {
        do throws(MachineError) {
            try MicroVM(fixture.config, hypervisor: TestVirtualMachine(), loop: fixture.loop, platform: X86Platform.self).realize()
            return "realized"
        } catch { return error.description }
    }

    @Test func memoryDevices_lieBehindRAM_andAreDescribed() throws {
        addMemory("mem0", requested: 64 << 20)
        try addFile("pmem0")
        let machine = try fixture.machine()
        let memory = MemoryDeviceInfo(
            id: "mem0", kind: .resizable(requested: 64 << 20, plugged: 0, blockSize: 4 << 20, node: nil), memdev: "b-mem0", address: 4 << 30, size: 1 << 30)
        let file = MemoryDeviceInfo(id: "pmem0", kind: .persistent, memdev: "b-pmem0", address: 5 << 30, size: 4 << 20)
        #expect(machine.memoryDevices() == [memory, file])
        #expect(machine.devices().map(\.driver) == ["virtio-mem-device", "virtio-pmem-device"])
        // The hypervisor has the file, and nothing that is not plugged.
        #expect(fixture.hypervisor.memory.ranges.filter { $0.kind == .ram }.map(\.base) == [0, 5 << 30])
        #expect(try machine.guestMemory.load(UInt32.self, at: 5 << 30) == 0x4242_4242)
        #expect(!machine.guestMemory.isRAM(at: 4 << 30, count: 1))
        // Whoever maps the guest's memory by itself gets all of it.
        #expect(machine.guestMemory.writableMappings().map(\.base) == [0, 4 << 30, 5 << 30])
    }

    @Test func whatTheGuestWritesIsInTheFile() throws {
        let path = try addFile("pmem0")
        let machine = try fixture.machine()
        try machine.guestMemory.store(UInt64(0x1122_3344_5566_7788), at: 4 << 30)
        #expect(try Data(contentsOf: URL(filePath: path)).prefix(8) == Data([0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]))
    }

    /// The class of GHSA-wwj6-vghv-5p64: read-only for the host too, whatever the guest does.
    @Test func readOnlyFiles_areReadOnlyForTheGuestTheDevicesAndTheHost() throws {
        let path = try addFile("pmem0", readOnly: true)
        #expect(unsafe chmod(path, 0o444) == 0)
        let machine = try fixture.machine()
        let range = try #require(fixture.hypervisor.memory.ranges.first { $0.base == 4 << 30 })
        #expect(range.readOnly)
        #expect(!machine.memory.write(at: 4 << 30, size: 8, value: 0))
        #expect(throws: GuestMemoryError.readOnly(address: 4 << 30)) { try machine.guestMemory.store(UInt32(0), at: 4 << 30) }
        #expect(try machine.guestMemory.load(UInt32.self, at: 4 << 30) == 0x4242_4242)
        #expect(!machine.guestMemory.writableMappings().contains { $0.base == 4 << 30 })
        // Neither can this process: its own mapping says so.
        // String(contentsOfFile:) would take the first page of it for all.
        let text = withExtendedLifetime(machine) { FileHandle(forReadingAtPath: "/proc/self/maps")?.readDataToEndOfFile() ?? Data() }
        let maps = String(decoding: text, as: UTF8.self).split(separator: "\n").filter { $0.hasSuffix("/\(fixture.folder.lastPathComponent)/pmem0") }
        #expect(!maps.isEmpty && maps.allSatisfy { $0.contains(" r--s ") })
        #expect(try Data(contentsOf: URL(filePath: path)).allSatisfy { $0 == 0x42 })
    }

    @Test func resizing_isCheckedAndTold() throws {
        addMemory("mem0")
        try addFile("pmem0")
        let machine = try fixture.started()
        defer { machine.shutDown() }
        try machine.resizeMemoryDevice("mem0", to: 128 << 20)
        guard case .resizable(requested: 128 << 20, plugged: 0, _, _)? = machine.memoryDevices().first?.kind else {
            Issue.record("\(machine.memoryDevices())")
            return
        }
        func refusal(_ id: String, _ size: UInt64) -> String {
            do throws(MachineControlError) {
                try machine.resizeMemoryDevice(id, to: size)
                return "done"
            } catch { return error.description }
        }
        #expect(refusal("mem0", 1 << 20) == "memory device 'mem0': the requested size 1048576 is not a multiple of the block size, 4M")
        #expect(refusal("mem0", 2 << 30) == "memory device 'mem0': the requested size 2147483648 is more than the 1073741824 bytes that there are")
        #expect(refusal("mem1", 0) == "there is nothing with the id 'mem1'")
        #expect(refusal("pmem0", 0) == "there is nothing with the id 'pmem0'")
        #expect(refusal("mem0", 1 << 30) == "done")
    }

    @Test func devicesThatDoNotFit_endTheStart() throws {
        addMemory("mem0", size: 128 << 30)
        #expect(sentence() == "-device: memory device 'mem0': it does not fit below 0x1000000000, where the processor's physical addresses end")
    }

    @Test func badSizes_endTheStart() throws {
        addMemory("mem0", size: 1 << 30) { $0.blockSize = 2 << 30 }
        #expect(sentence() == "-device: memory device 'mem0': the size of its memory, 1073741824, is not a multiple of 2G")
        fixture.config.devices = []
        fixture.config.memoryBackends = []
        addMemory("mem0", requested: 1 << 20)
        #expect(sentence() == "-device: memory device 'mem0': the requested size 1048576 is not a multiple of the block size, 4M")
    }

    @Test func fileThatIsShorterThanItsMemory_isRefused() throws {
        let path = try addFile("pmem0", readOnly: true)
        fixture.config.memoryBackends[0].size = 8 << 20
        #expect(sentence() == "-object memory-backend-file,id=b-pmem0: '\(path)' has 4194304 bytes, fewer than the memory's 8388608")
        fixture.config.memoryBackends[0].kind = .file(path: "/nonexistent")
        #expect(sentence() == "-object memory-backend-file,id=b-pmem0: cannot open '/nonexistent': No such file or directory")
    }

    @Test func sizesAreToldAtOnce_thenOnceAnInterval_andTheLastIsNotLost() {
        var report = SizeReport()
        #expect(report.changed(to: 1) == 1)
        #expect(report.changed(to: 2) == nil)
        #expect(report.changed(to: 3) == nil)
        #expect(report.intervalEnded() == 3)
        #expect(report.changed(to: 4) == nil)
        #expect(report.intervalEnded() == 4)
        #expect(report.intervalEnded() == nil)
        #expect(report.changed(to: 5) == 5)
    }
}
