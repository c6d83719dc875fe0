import AddressSpace
import BootCommon
import BootX86
import Foundation
import MachineManager
import Testing

@testable import Machine

@Suite struct NUMATests {
    private static let mib: UInt64 = 1 << 20

    /// Nodes with memory of these sizes and a vCPU each; 0 for none.
    private func fixture(_ sizes: [UInt64], kind: VmConfig.MemoryBackend.Kind = .memfd) throws -> Fixture {
        let fixture = try Fixture()
        fixture.config.memory.size = sizes.reduce(0, +)
        (fixture.config.processors.count, fixture.config.processors.maximum) = (UInt32(sizes.count), UInt32(sizes.count))
        fixture.config.processors.cores = UInt32(sizes.count)
        for (index, size) in sizes.enumerated() {
            var node = VmConfig.NUMANode(number: UInt32(index))
            node.cpus = [UInt32(index)]
            if size > 0 {
                fixture.config.memoryBackends.append(VmConfig.MemoryBackend(id: "m\(index)", kind: kind, size: size, isShared: kind != .ram))
                node.memory = "m\(index)"
            }
            fixture.config.nodes.append(node)
        }
        return fixture
    }

    // MARK: Where RAM is

    @Test(arguments: [
        ([2048, 2048], [(0, 2048, 0, 0), (2048, 1024, 1, 0), (4096, 1024, 1, 1024)]),
        ([3072, 1], [(0, 3072, 0, 0), (4096, 1, 1, 0)]),
        ([4000, 128], [(0, 3072, 0, 0), (4096, 928, 0, 3072), (5024, 128, 1, 0)]),
        ([64, 64, 64], [(0, 64, 0, 0), (64, 64, 1, 0), (128, 64, 2, 0)]),
    ] as [([UInt64], [(Int, Int, Int, Int)])])
    func nodesFollowEachOther_acrossTheGap(_ sizes: [UInt64], _ expected: [(Int, Int, Int, Int)]) {
        let parts = X86MemoryMap.ramParts(sizes: sizes.map { $0 * Self.mib })
        #expect(parts.map { (Int($0.base / Self.mib), Int($0.size / Self.mib), $0.memory, Int($0.offset / Self.mib)) }.elementsEqual(expected, by: ==))
    }

    /// Whatever the sizes are: every byte of every node is in one place, RAM has no hole but the gap, and the kernel is told the same.
    @Test func randomSizes_fillTheMemoryMapThatTheKernelIsTold() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            let sizes = (0..<Int.random(in: 1...8, using: &random)).map { _ in
                let limit: UInt64 = Bool.random(using: &random) ? 8 << 30 : 1 << 30
                return Bool.random(using: &random) ? UInt64.random(in: 1...limit >> 12, using: &random) << 12 : UInt64.random(in: 1...16, using: &random) << 28
            }
            let total = max(sizes.reduce(0, +), X86MemoryLayout.minimumRAM)
            let whole = sizes.reduce(0, +) == total ? sizes : [total]
            let parts = X86MemoryMap.ramParts(sizes: whole)
            for (index, size) in whole.enumerated() {
                let own = parts.filter { $0.memory == index }
                #expect((1...2).contains(own.count) && own[0].offset == 0 && own.reduce(0) { $0 + $1.size } == size, "\(sizes)")
                if own.count == 2 { #expect(own[1].offset == own[0].size && own[0].base + own[0].size == 3 << 30 && own[1].base == 4 << 30, "\(sizes)") }
            }
            // Neighbours put together.
            var ranges: [(base: UInt64, end: UInt64)] = []
            for part in parts {
                #expect(part.size > 0)
                if let last = ranges.last, last.end == part.base { ranges[ranges.count - 1].end += part.size } else { ranges.append((part.base, part.base + part.size)) }
            }
            let layout = try X86MemoryLayout(ramSize: total)
            let high = layout.highRAM.map { [($0.start, $0.start + $0.count)] } ?? []
            #expect(ranges.map { ($0.base, $0.end) }.elementsEqual([(0, layout.lowRAMEnd)] + high, by: ==), "\(sizes)")
            let told = layout.memoryMap(acpiTables: true).filter { $0.kind == .ram }
            #expect(told.last.map { $0.start + $0.size } == ranges.last?.end, "\(sizes)")
        }
    }

    @Test func ramOfSeveralNodes_isInTheirFiles_inOrder() throws {
        let machine = try fixture([2048 * Self.mib, 2048 * Self.mib]).machine()
        let pieces = machine.guestMemory.writableMappings()
        #expect(pieces.map { $0.base >> 20 } == [0, 2048, 4096] && pieces.map { $0.size >> 20 } == [2048, 1024, 1024])
        let files = pieces.compactMap(\.file)
        try #require(files.count == 3)
        #expect(files.map { $0.offset >> 20 } == [0, 0, 1024])
        #expect(files[0].descriptor != files[1].descriptor && files[1].descriptor == files[2].descriptor)
        // An access across the border of two nodes is one for the guest.
        let border = 2048 * Self.mib
        try machine.guestMemory.write(at: border - 4, bytes: [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(try machine.guestMemory.bytes(at: border, count: 4) == [5, 6, 7, 8])
        var bytes = [UInt8](repeating: 0, count: 4)
        #expect(unsafe pread(files[0].descriptor, &bytes, 4, Int(border) - 4) == 4 && bytes == [1, 2, 3, 4])
        #expect(unsafe pread(files[1].descriptor, &bytes, 4, 0) == 4 && bytes == [5, 6, 7, 8])
    }

    @Test func nodesOfUnsharedMemory_haveNoFile() throws {
        let machine = try fixture([64 * Self.mib, 64 * Self.mib], kind: .ram).machine()
        #expect(machine.guestMemory.writableMappings().allSatisfy { $0.file == nil })
        #expect(machine.guestMemory.ramRanges().reduce(0) { $0 + $1.size } == 128 * Self.mib)
    }

    /// Kernel and tables reach across nodes that are smaller than they.
    @Test func tinyNodes_boot() throws {
        let machine = try fixture([4096, 8192, 1 << 19, 1 << 20, 128 << 20]).machine()
        #expect(try machine.guestMemory.bytes(at: 0xe0000, count: 8) == Array("RSD PTR ".utf8))
    }

    // MARK: What the guest is told

    /// The table with this signature, found through the root pointer.
    private func table(_ signature: String, _ machine: MicroVM) throws -> [UInt8]? {
        let memory = machine.guestMemory
        let xsdt = try memory.load(UInt64.self, at: 0xe0000 + 24)
        let length = try UInt64(memory.load(UInt32.self, at: xsdt + 4))
        for entry in stride(from: xsdt + 36, to: xsdt + length, by: 8) {
            let table = try memory.load(UInt64.self, at: entry)
            let bytes = try memory.bytes(at: table, count: UInt64(memory.load(UInt32.self, at: table + 4)))
            if bytes.starts(with: signature.utf8) { return bytes }
        }
        return nil
    }

    @Test func tables_tellNodesWithTheirCPUsAndMemory() throws {
        let fixture = try fixture([64 * Self.mib, 0, 64 * Self.mib])
        fixture.config.nodes[0].distances = [.init(to: 2, 42)]
        let machine = try fixture.machine()
        let srat = try #require(try table("SRAT", machine))
        var found: [String] = []
        var offset = 48
        while offset < srat.count {
            if srat[offset] == 0 { found.append("cpu \(srat[offset + 3]) in \(srat[offset + 2])") } else {
                let base = (0..<8).reduce(UInt64(0)) { $0 | UInt64(srat[offset + 8 + $1]) << UInt64($1 * 8) }
                found.append("\(base >> 20) in \(srat[offset + 2])")
            }
            offset += Int(srat[offset + 1])
        }
        #expect(found == ["cpu 0 in 0", "0 in 0", "cpu 1 in 1", "cpu 2 in 2", "64 in 2"])
        #expect(try table("SLIT", machine)?.dropFirst(44) == [10, 20, 42, 20, 10, 20, 20, 20, 10])
        #expect(try table("SRAT", Fixture().machine()) == nil)
    }

    @Test func queries_knowNodesAndBackends() throws {
        let fixture = try fixture([64 * Self.mib, 64 * Self.mib])
        let machine = try fixture.started()
        defer { machine.shutDown() }
        #expect(machine.cpus().map(\.place.node) == [0, 1])
        #expect(machine.memoryBackends().map(\.id) == ["m0", "m1"] && machine.memorySize() == MemorySize(base: 128 << 20))
    }

    @Test func preallocationOfTheMachine_isForEveryNode() throws {
        let fixture = try fixture([4 * Self.mib, 8 * Self.mib])
        fixture.config.memory.isPreallocated = true
        let memories = try fixture.machine(realized: false).makeRAM()
        for memory in memories {
            var status = stat()
            #expect(unsafe fstat(memory.fileDescriptor, &status) == 0 && status.st_blocks * 512 == Int(memory.size))
        }
    }

    @Test func nodeWhoseMemoryCannotBe_namesItsBackend() throws {
        let fixture = try fixture([64 * Self.mib, 64 * Self.mib], kind: .file(path: "/none/x"))
        #expect { try fixture.machine() } throws: { "\($0)" == "-object memory-backend-file,id=m0: cannot open '/none/x': No such file or directory" }
    }
}
