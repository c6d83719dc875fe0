import AddressSpace
import FDTTesting
import Foundation
import Hypervisor
import HypervisorTesting
import MachineManager
import Testing

@testable import Machine

/// What aarch64 guests are told of their machines, as dtc reads it. The texts beside this file are what Linux gets, less the seeds.
@Suite struct DeviceTreeTests {
    private let fixture: Fixture
    private static let mib: UInt64 = 1 << 20
    private static let base: UInt64 = 1 << 30

    init() throws {
        fixture = try Fixture(AArch64Platform.self)
        fixture.config.boot.kernelArguments = "console=ttyAMA0 root=/dev/vda"
    }

    /// The tree at the start of RAM, by the size in its header (Devicetree Specification 0.4, section 5.2).
    private func blob(_ machine: MicroVM) throws -> [UInt8] {
        let memory = machine.guestMemory
        #expect(try memory.load(UInt32.self, at: Self.base).bigEndian == 0xd00d_feed)
        let size = try UInt64(memory.load(UInt32.self, at: Self.base + 4).bigEndian)
        try #require(size < 2 * Self.mib)
        return try memory.bytes(at: Self.base, count: size, limit: 2 * Self.mib)
    }

    private func set(cpus: UInt32, sockets: UInt32 = 1, cores: UInt32? = nil, threads: UInt32 = 1) {
        fixture.config.processors.count = cpus
        fixture.config.processors.maximum = cpus
        fixture.config.processors.sockets = sockets
        fixture.config.processors.cores = cores ?? cpus
        fixture.config.processors.threads = threads
    }

    private func addSerial() { fixture.config.serial = .init(id: "serial_chardev", backend: .file(path: "/dev/null")) }

    private func addInitrd(_ bytes: Int) throws {
        let path = fixture.folder.appending(path: "initrd").path(percentEncoded: false)
        try Data(repeating: 7, count: bytes).write(to: URL(filePath: path))
        fixture.config.boot.initrd = path
    }

    /// The seeds are secrets, and different each time.
    private func masked(_ source: String) -> String {
        source.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            for name in ["kaslr-seed", "rng-seed"] where line.contains("\(name) = <") { return "\t\t\(name) = <MASKED>;" }
            return String(line)
        }.joined(separator: "\n")
    }

    private func checkGolden(_ name: String) throws {
        let machine = try fixture.machine()
        let tree = try DecompiledTree(try blob(machine))
        #expect(tree.warnings == "", "\(name)")
        #expect(masked(tree.source) == (try DecompiledTree.golden(name)), "\(name)")
        try checkPhandles(tree.source)
        try checkCompiles(tree.source)
    }

    private func checkPhandles(_ source: String) throws {
        let phandles = source.matches(of: /\tphandle = <0x([0-9a-f]+)>/).map { String($0.1) }
        #expect(phandles.count >= 4 && Set(phandles).count == phandles.count, "\(phandles)")
    }

    /// Source is checked once more; but what dtc has written has numbers where people write labels.
    private func checkCompiles(_ source: String) throws {
        let dtc = Process()
        dtc.executableURL = URL(filePath: "/usr/bin/dtc")
        let file = fixture.folder.appending(path: "tree.dts")
        try Data(source.utf8).write(to: file)
        dtc.arguments = ["-W", "no-clocks_property", "-W", "no-gpios_property", "-I", "dts", "-O", "dtb", "-o", "/dev/null", file.path(percentEncoded: false)]
        let complaints = Pipe()
        dtc.standardError = complaints
        try dtc.run()
        let text = String(decoding: complaints.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        dtc.waitUntilExit()
        #expect(dtc.terminationStatus == 0 && text == "")
    }

    // MARK: Golden trees

    @Test func oneProcessor_withoutAnything() throws { try checkGolden("one-cpu") }

    @Test func eightProcessors_withSerialPortInitrdAndCounters() throws {
        set(cpus: 8, sockets: 2, cores: 2, threads: 2)
        addSerial()
        try addInitrd(3 << 20 | 5)
        fixture.config.cpu.hasPMU = true
        try checkGolden("eight-cpus")
    }

    @Test func twoNodes() throws {
        set(cpus: 4)
        addNodes([(0, [0, 1], 128 * Self.mib), (1, [2, 3], 64 * Self.mib)])
        fixture.config.nodes[0].distances = [.init(to: 1, 42)]
        try checkGolden("two-nodes")
    }

    @Test func allDevices() throws {
        addSerial()
        for index in 0..<5 { try fixture.addDisk("disk\(index)") }
        fixture.config.rngSources.append(.init(id: "rng", filename: "/dev/urandom"))
        fixture.config.devices.append(.virtioRng(.init(id: "rng0", rng: "rng")))
        fixture.config.devices.append(.virtioBalloon(.init(id: "balloon")))
        fixture.config.memoryBackends.append(.init(id: "memory", kind: .ram, size: 1 << 30, isShared: false))
        fixture.config.devices.append(.virtioMem(.init(id: "mem0", memdev: "memory")))
        try checkGolden("all-devices")
    }

    @Test func gicV2() throws {
        fixture.hypervisor.aarch64Machine.gicKind = .v2
        fixture.config.cpu.hasPMU = true
        set(cpus: 4)
        try checkGolden("gic-v2")
    }

    @Test func manyProcessors_haveTwoRegionsOfRedistributors() throws {
        set(cpus: 130)
        try checkGolden("130-cpus")
    }

    private func addNodes(_ nodes: [(number: UInt32, cpus: [UInt32], memory: UInt64)]) {
        for (number, cpus, memory) in nodes {
            var node = VmConfig.NUMANode(number: number)
            node.cpus = cpus
            if memory > 0 {
                node.memory = "m\(number)"
                fixture.config.memoryBackends.append(.init(id: "m\(number)", kind: .ram, size: memory, isShared: false))
            }
            fixture.config.nodes.append(node)
        }
        fixture.config.memory.size = nodes.reduce(0) { $0 + $1.memory }
    }

    // MARK: The rest

    @Test func largestMachine_hasATreeThatFits() throws {
        set(cpus: 254)
        addNodes((0..<8).map { (number: $0, cpus: $0 == 7 ? Array(217..<254) : Array($0 * 31..<($0 + 1) * 31), memory: 64 * Self.mib) })
        addSerial()
        fixture.config.rngSources.append(.init(id: "rng", filename: "/dev/urandom"))
        for index in 0..<186 { fixture.config.devices.append(.virtioRng(.init(id: "rng\(index)", rng: "rng"))) }
        fixture.config.boot.kernelArguments = String(repeating: "x", count: 4000)
        let tree = try DecompiledTree(try blob(try fixture.machine()))
        #expect(tree.warnings == "")
        #expect(tree.source.matches(of: /virtio_mmio@/).count == 192)
        try checkPhandles(tree.source)
    }

    @Test func moreDevicesThanInterrupts_areRefused() throws {
        fixture.config.rngSources.append(.init(id: "rng", filename: "/dev/urandom"))
        for index in 0..<187 { fixture.config.devices.append(.virtioRng(.init(id: "rng\(index)", rng: "rng"))) }
        #expect { try fixture.machine() } throws: { "\($0)".contains("192 devices fit") }
    }

    @Test func nodeWithoutMemory_takesNoPlaceInRAM() throws {
        set(cpus: 3)
        addNodes([(0, [0], 64 * Self.mib), (2, [1], 0), (5, [2], 128 * Self.mib)])
        let source = try DecompiledTree(try blob(try fixture.machine())).source
        let memories = source.matches(of: /memory@([0-9a-f]+) \{[^}]*numa-node-id = <(0x[0-9a-f]+)>/).map { "\($0.1) \($0.2)" }
        #expect(memories == ["40000000 0x00", "44000000 0x05"])
        #expect(source.matches(of: /cpu@[0-9a-f]+ \{[^}]*numa-node-id = <(0x[0-9a-f]+)>/).map { String($0.1) } == ["0x00", "0x02", "0x05"])
        #expect(source.contains("distance-matrix = <0x00 0x00 0x0a 0x00 0x02 0x14 0x00 0x05 0x14 0x02 0x00 0x14 0x02 0x02 0x0a 0x02 0x05 0x14 0x05 0x00 0x14 0x05 0x02 0x14 0x05 0x05 0x0a>"))
    }

    /// Each start has secrets of its own, of the full length.
    @Test func seeds_areNeverTheSame() throws {
        var found: Set<String> = []
        for _ in 0..<4 {
            let source = try DecompiledTree(try blob(try Fixture(AArch64Platform.self).machine())).source
            for name in ["kaslr-seed", "rng-seed"] {
                let line = try #require(source.split(separator: "\n").first { $0.contains("\(name) = <") })
                let cells = line.split { " <>;=\t".contains($0) }.dropFirst()
                #expect(cells.count == (name == "rng-seed" ? 16 : 2))
                found.insert(cells.joined())
            }
        }
        #expect(found.count == 8)
    }

    @Test func initrd_isWhereTheTreeSays() throws {
        try addInitrd(70_001)
        let machine = try fixture.machine()
        let source = try DecompiledTree(try blob(machine)).source
        func address(_ name: String) throws -> UInt64 {
            let cells = try #require(source.firstMatch(of: Regex("\(name) = <0x([0-9a-f]+) 0x([0-9a-f]+)>", as: (Substring, Substring, Substring).self)))
            return try #require(UInt64(cells.1, radix: 16)) << 32 | (try #require(UInt64(cells.2, radix: 16)))
        }
        let (start, end) = (try address("linux,initrd-start"), try address("linux,initrd-end"))
        #expect(end - start == 70_001 && start % 4096 == 0 && end <= Self.base + fixture.config.memory.size)
        #expect(try machine.guestMemory.bytes(at: start, count: 70_001, limit: 1 << 20).allSatisfy { $0 == 7 })
    }

    @Test func dump_isTheTreeOfTheMachine_inANewFile() throws {
        let path = fixture.folder.appending(path: "dump").path(percentEncoded: false)
        fixture.config.machine.deviceTreeDump = path
        let told = try blob(try fixture.machine())
        #expect(try [UInt8](Data(contentsOf: URL(filePath: path))) == told)
        let other = try Fixture(AArch64Platform.self)
        other.config.machine.deviceTreeDump = path
        #expect { try other.machine() } throws: { "\($0)" == "-machine: dumpdtb=: cannot create '\(path)': File exists" }
    }
}
