import FDT
import FDTTesting
import Foundation
import Testing

@Suite struct FDTBuilderTests {
    private func sample(limit: Int = FDTBuilder.defaultLimit) throws(FDTError) -> [UInt8] {
        var tree = try FDTBuilder(limit: limit, reservations: [.init(address: 0x4000_0000, size: 0x1000)])
        try tree.node("") { (root) throws(FDTError) in
            try root.property("compatible", "linux,dummy-virt")
            try root.property("#address-cells", cells: [2])
            try root.node("memory@40000000") { (memory) throws(FDTError) in
                try memory.property("device_type", "memory")
                try memory.property("reg", doubleCells: [0x4000_0000, 0x1_0000_0000])
            }
            try root.node("timer") { (timer) throws(FDTError) in
                try timer.property("compatible", ["arm,armv8-timer", "arm,armv7-timer"])
                try timer.property("always-on")
                try timer.property("raw", bytes: [1, 2, 3])
            }
        }
        return try tree.finish()
    }

    @Test func tree_readsBackInDTC() throws {
        let tree = try DecompiledTree(try sample())
        let lines = tree.source.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        #expect(
            lines == [
                "/dts-v1/;", "/memreserve/\t0x0000000040000000 0x0000000000001000;", "/ {",
                "compatible = \"linux,dummy-virt\";", "#address-cells = <0x02>;",
                "memory@40000000 {", "device_type = \"memory\";", "reg = <0x00 0x40000000 0x01 0x00>;", "};",
                "timer {", "compatible = \"arm,armv8-timer\", \"arm,armv7-timer\";", "always-on;", "raw = [01 02 03];", "};",
                "};",
            ])
    }

    @Test func warnings_ofDTC_areHandedOn() throws {
        func warnings(_ name: String) throws -> String {
            var tree = try FDTBuilder()
            try tree.node("") { (root) throws(FDTError) in
                try root.property("#address-cells", cells: [1])
                try root.property("#size-cells", cells: [1])
                try root.node(name) { (node) throws(FDTError) in try node.property("reg", cells: [1, 1]) }
            }
            return try DecompiledTree(try tree.finish()).warnings
        }
        #expect(try warnings("device@1") == "")
        #expect(try warnings("device").contains("unit_address_vs_reg"))
    }

    @Test func blob_startsWithItsHeader() throws {
        let blob = try sample()
        #expect(blob.prefix(4) == [0xd0, 0x0d, 0xfe, 0xed])
        #expect(blob[4..<8].reduce(0) { $0 << 8 | Int($1) } == blob.count)
        #expect(blob.count < 1024)
    }

    @Test func largeTree_growsUpToItsLimit() throws {
        var tree = try FDTBuilder()
        try tree.beginNode("")
        for index in 0..<500 {
            try tree.node("virtio_mmio@\(index)") { (node) throws(FDTError) in
                try node.property("reg", doubleCells: [UInt64(index), 0x200])
                try node.property("property-\(index)", "value")
            }
        }
        try tree.endNode()
        let blob = try tree.finish()
        #expect(blob.count > 32 << 10 && blob.count <= 64 << 10)
        #expect(try DecompiledTree(blob).source.contains("property-499 = \"value\";"))
    }

    @Test func treeAboveItsLimit_isAnError() {
        #expect(throws: FDTError.tooLarge(limit: 8192)) {
            var tree = try FDTBuilder(limit: 8192)
            try tree.beginNode("")
            for index in 0..<100 { try tree.property("p\(index)", bytes: [UInt8](repeating: 1, count: 100)) }
        }
        #expect(throws: FDTError.tooLarge(limit: 4096)) {
            var tree = try FDTBuilder(limit: 0)
            try tree.beginNode("")
            try tree.property("p", bytes: [UInt8](repeating: 1, count: 4096))
        }
    }

    @Test func wrongNesting_isAnError() {
        func build(_ body: (inout FDTBuilder) throws(FDTError) -> Void) throws(FDTError) {
            var tree = try FDTBuilder()
            try body(&tree)
            _ = try tree.finish()
        }
        #expect(throws: FDTError.badNesting) { try build { _ in } }
        #expect(throws: FDTError.badNesting) { try build { (tree) throws(FDTError) in try tree.endNode() } }
        #expect(throws: FDTError.badNesting) { try build { (tree) throws(FDTError) in try tree.beginNode("") } }
        #expect(throws: FDTError.badNesting) { try build { (tree) throws(FDTError) in try tree.property("p") } }
        #expect(throws: FDTError.badNesting) {
            try build { (tree) throws(FDTError) in
                try tree.node("") { (root) throws(FDTError) in
                    try root.node("child") { _ in }
                    try root.property("late")
                }
            }
        }
        #expect(throws: FDTError.badNesting) {
            try build { (tree) throws(FDTError) in
                try tree.node("") { _ in }
                try tree.node("") { _ in }
            }
        }
    }

    @Test func badNamesAndEmptyReservations_areErrors() {
        for name in ["", "a\0b"] {
            #expect(throws: FDTError.badName) {
                var tree = try FDTBuilder()
                try tree.beginNode("")
                try tree.beginNode(name)
            }
            #expect(throws: FDTError.badName) {
                var tree = try FDTBuilder()
                try tree.beginNode("")
                try tree.property(name)
            }
        }
        #expect(throws: FDTError.badName) {
            var tree = try FDTBuilder()
            try tree.beginNode("root")
        }
        #expect(throws: FDTError.emptyReservation) {
            _ = try FDTBuilder(reservations: [.init(address: 4096, size: 0)])
        }
    }
}
