import AddressSpace
import LinuxSys
import Testing

/// The tree as plain values, resolved one byte at a time by the rules of the documentation.
private final class Model {
    let region: Region
    var children: [(node: Model, offset: UInt64, priority: Int32, serial: Int)] = []
    var target: (node: Model, offset: UInt64)?

    init(_ region: Region) { self.region = region }

    func resolve(_ address: UInt64) -> (region: Region, offset: UInt64)? {
        guard address < region.size else { return nil }
        switch region.kind {
        case .container:
            for child in children.sorted(by: { ($0.priority, $0.serial) > ($1.priority, $1.serial) }) where address >= child.offset {
                if let found = child.node.resolve(address - child.offset) { return found }
            }
            return nil
        case .alias:
            guard let target else { return nil }
            return target.node.resolve(address + target.offset)
        default:
            return (region, address)
        }
    }

    func shows(_ other: Model) -> Bool {
        self === other || target?.node.shows(other) == true || children.contains { $0.node.shows(other) }
    }
}

struct OracleTests {
    private static let size: UInt64 = 160

    @Test(arguments: 0..<60 as Range<UInt64>)
    func randomTree_flatView_matchesByteMap(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let space = AddressSpace(name: "space", size: OracleTests.size)
        let listener = RecordingListener()
        try space.addListener(listener)
        let memory = try HostMemory.anonymous(size: OracleTests.size)
        let root = Model(space.root)
        var containers = [root]
        var nodes: [Model] = []
        var placed: [(parent: Model, child: Model)] = []
        var serial = 0

        func makeNode() throws -> Model {
            let size = UInt64.random(in: 1...60, using: &random)
            let name = "r\(serial)"
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<3: return Model(try .io(name: name, size: size, ops: RecordingOps()))
            case 3..<5: return Model(try .ram(name: name, size: size, memory: memory, memoryOffset: UInt64.random(in: 0...100, using: &random)))
            case 5: return Model(try .ramDevice(name: name, size: size, memory: memory))
            case 6..<8:
                let node = Model(try .container(name: name, size: size))
                containers.append(node)
                return node
            default:
                let target = nodes.randomElement(using: &random) ?? root
                let offset = UInt64.random(in: 0...40, using: &random)
                let node = Model(try .alias(name: name, of: target.region, offset: offset, size: size))
                node.target = (target, offset)
                return node
            }
        }

        for _ in 0..<60 {
            var steps = Int.random(in: 1...3, using: &random)
            try space.transaction { () throws(AddressSpaceError) in
                while steps > 0 {
                    steps -= 1
                    serial += 1
                    if Int.random(in: 0..<4, using: &random) == 0, let index = placed.indices.randomElement(using: &random) {
                        let (parent, child) = placed.remove(at: index)
                        try parent.region.remove(child.region)
                        parent.children.removeAll { $0.node === child }
                        continue
                    }
                    let node: Model
                    do { node = try makeNode() } catch { throw error as! AddressSpaceError }
                    nodes.append(node)
                    guard let parent = containers.randomElement(using: &random), parent.region.size >= node.region.size else { continue }
                    let offset = UInt64.random(in: 0...parent.region.size - node.region.size, using: &random)
                    let priority = Int32.random(in: -1...1, using: &random)
                    if node.shows(parent) {
                        #expect(throws: AddressSpaceError.cycle(node.region.name)) {
                            try parent.region.add(node.region, at: offset, priority: priority)
                        }
                    } else {
                        try parent.region.add(node.region, at: offset, priority: priority)
                        parent.children.append((node, offset, priority, serial))
                        placed.append((parent, node))
                    }
                }
            }
            try compare(space, root, listener)
        }
    }

    private func compare(_ space: AddressSpace, _ root: Model, _ listener: RecordingListener) throws {
        let ranges = space.flatRanges()
        var index = 0
        for address in 0..<OracleTests.size {
            while index < ranges.count, ranges[index].end <= address { index += 1 }
            let expected = root.resolve(address)
            let range = index < ranges.count && ranges[index].base <= address ? ranges[index] : nil
            let answer = space.read(at: address, size: 1)
            var agrees = range?.region === expected?.region
                && (range.map { $0.offsetInRegion + (address - $0.base) } == expected?.offset)
                && space.memory.isRAM(at: address, count: 1) == (expected?.region.kind == .ram)
            // The readers' table says the same: an I/O read returns its offset.
            agrees = agrees && (expected?.region.kind == .io ? answer == expected?.offset : (answer == nil) == (expected == nil))
            if !agrees { try #require(Bool(false), "address \(address): \(layout(space))") }
        }
        // Sorted, disjoint, merged.
        for (a, b) in zip(ranges, ranges.dropFirst()) {
            try #require(a.end <= b.base)
            try #require(
                !(a.end == b.base && a.region === b.region && a.offsetInRegion + a.size == b.offsetInRegion))
        }
        try #require(listener.ranges == ranges)
        try #require(listener.complaints == [])
    }
}
