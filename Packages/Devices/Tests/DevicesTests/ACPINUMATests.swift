import Foundation
import Testing

@testable import Devices

@Suite struct ACPINUMATests {
    /// Node 0 with two CPUs and memory on both sides of the gap, node 2 with one CPU and memory.
    private static let nodes = [
        ACPIConfiguration.Node(
            number: 0, apicIDs: [0, 1], memory: [.init(base: 0, size: 0xC000_0000), .init(base: 0x1_0000_0000, size: 0x4000_0000)], distances: [10, 21]),
        ACPIConfiguration.Node(number: 2, apicIDs: [4], memory: [.init(base: 0x1_4000_0000, size: 0x1_0000_0000)], distances: [31, 10]),
    ]

    private func tables(_ nodes: [ACPIConfiguration.Node]) throws -> [String: [UInt8]] {
        var configuration = configuration(cpus: 1, devices: 0)
        configuration.apicIDs = [0, 1, 4]
        configuration.nodes = nodes
        return try DevicesTests.tables(try ACPITables.build(configuration))
    }

    @Test func withoutNodes_thereIsNeitherTable() throws {
        let found = try tables([])
        #expect(found["SRAT"] == nil && found["SLIT"] == nil && found["APIC"] != nil)
    }

    /// Byte for byte as in ACPI 6.5, tables 5.51 to 5.53.
    @Test func srat_saysWhichNodeEverythingBelongsTo() throws {
        let srat = try #require(try tables(Self.nodes)["SRAT"])
        #expect(srat[8] == 3 && srat.count == 48 + 3 * 16 + 3 * 40)
        let expected: [UInt8] = [
            1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 16, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 16, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            1, 40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            1, 40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 16, 2, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            1, 40, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]
        #expect(Array(srat.dropFirst(36)) == expected)
    }

    /// Rows and columns are numbers, also those that no node has.
    @Test func slit_isASquareByNumber() throws {
        let slit = try #require(try tables(Self.nodes)["SLIT"])
        #expect(slit[8] == 1)
        #expect(Array(slit.dropFirst(36)) == [3, 0, 0, 0, 0, 0, 0, 0, 10, 20, 21, 20, 10, 20, 31, 20, 10])
    }

    @Test func theLargestNumbers_fit() throws {
        let nodes = (120..<128).map { ACPIConfiguration.Node(number: $0, apicIDs: [], memory: [], distances: [UInt8](repeating: 11, count: 8)) }
        #expect(try tables(nodes)["SLIT"]?.count == 36 + 8 + 128 * 128)
    }

    @Test func nodesThatCannotBe_areRefused() throws {
        func node(_ number: UInt32, _ distances: [UInt8]) -> ACPIConfiguration.Node { .init(number: number, apicIDs: [], memory: [], distances: distances) }
        #expect(throws: ACPIError.nodeInvalid(128)) { try tables([node(128, [10])]) }
        #expect(throws: ACPIError.nodeInvalid(1)) { try tables([node(0, [10, 20]), node(1, [20])]) }
        #expect(throws: ACPIError.nodeInvalid(3)) { try tables([node(3, [10, 20]), node(3, [20, 10])]) }
    }

    @Test func tables_throughIASL_recompileToTheSameBytes_andSayWhatTheyShould() throws {
        let found = try tables(Self.nodes)
        try withTemporaryDirectory { directory in
            for (name, words) in [("SRAT", ["Proximity Domain : 00000002", "Memory Affinity"]), ("SLIT", ["Localities : 0000000000000003", "0A 14 15"])] {
                let bytes = try #require(found[name])
                try Data(bytes).write(to: directory.appendingPathComponent("\(name).aml"))
                let disassembly = try iasl(["-d", "\(name).aml"], in: directory)
                #expect(disassembly.status == 0 && !disassembly.output.contains("Warning") && !disassembly.output.contains("rror:"), "\(disassembly.output)")
                let text = try String(contentsOf: directory.appendingPathComponent("\(name).dsl"), encoding: .utf8)
                for word in words { #expect(text.contains(word), "\(word) in \(text)") }
                let compilation = try iasl(["-p", "again-\(name)", "\(name).dsl"], in: directory)
                #expect(compilation.status == 0, "\(compilation.output)")
                let again = [UInt8](try Data(contentsOf: directory.appendingPathComponent("again-\(name).aml")))
                #expect(again.dropFirst(36).elementsEqual(bytes.dropFirst(36)), "\(name)")
            }
        }
    }
}
