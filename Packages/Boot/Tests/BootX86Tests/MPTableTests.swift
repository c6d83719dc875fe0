import BootTestSupport
import BootX86
import Testing

@Suite struct MPTableTests {
    private func sum(_ bytes: [UInt8]) -> UInt8 { bytes.reduce(0, &+) }

    private func table(_ cpus: Int) throws -> MPTable { try MPTable(apicIDs: (0..<UInt32(cpus)).map { $0 }) }

    @Test(arguments: [1, 8, 40, 41, 254])
    func table_isChecksummedAndCountsItsEntries(cpus: Int) throws {
        let table = try table(cpus)
        #expect(sum(table.floatingPointer) == 0)
        #expect(sum(table.configuration) == 0)
        #expect(table.floatingPointer.count == 16)
        #expect(table.floatingPointer.get(UInt32.self, at: 4) == UInt32(table.configurationAddress))
        #expect(table.configuration.count == 44 + 20 * cpus + 8 + 8 + 16 * 8 + 2 * 8)
        #expect(Int(table.configuration.get(UInt16.self, at: 4)) == table.configuration.count)
        #expect(Int(table.configuration.get(UInt16.self, at: 34)) == cpus + 20)
    }

    @Test func table_moreThan40CPUs_leavesTheEBDA() throws {
        #expect(try table(40).configurationAddress == 0x9fc10)
        #expect(try table(41).configurationAddress == 0xd0000)
        let largest = try table(254)
        #expect(largest.configurationAddress + UInt64(largest.configuration.count) <= 0xe0000)
    }

    @Test func table_ofTwoCPUs_hasTheExactBytes() throws {
        let table = try table(2)
        #expect(table.floatingPointer.prefix(10) == [0x5f, 0x4d, 0x50, 0x5f, 0x10, 0xfc, 0x09, 0, 1, 4])
        #expect(table.floatingPointer.suffix(5) == [0, 0, 0, 0, 0])
        let bytes = table.configuration
        #expect(Array(bytes[0..<4]) == Array("PCMP".utf8) && bytes[6] == 4)
        #expect(Array(bytes[8..<28]) == Array("STRATO  1.0         ".utf8))
        #expect(bytes.get(UInt32.self, at: 36) == 0xfee0_0000)
        let first: [UInt8] = [0, 0, 0x14, 3, 0, 6, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        let second: [UInt8] = [0, 1, 0x14, 1, 0, 6, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        #expect(Array(bytes[44..<84]) == first + second)
        #expect(Array(bytes[84..<92]) == [1, 0] + Array("ISA   ".utf8))
        #expect(Array(bytes[92..<100]) == [2, 3, 0x11, 1, 0, 0, 0xc0, 0xfe])
        for line in 0..<16 {
            let offset = 100 + line * 8
            #expect(Array(bytes[offset..<offset + 8]) == [3, 0, 0, 0, 0, UInt8(line), 3, UInt8(line)])
        }
        #expect(Array(bytes[228...]) == [4, 3, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0xff, 1])
    }

    @Test func sparseAPICIDs_areKept() throws {
        let bytes = try MPTable(apicIDs: [0, 1, 4, 5]).configuration
        #expect([1, 21, 41, 61].map { bytes[44 + $0] } == [0, 1, 4, 5])
        #expect(bytes[44 + 3] == 3 && bytes[44 + 23] == 1)
        #expect(bytes[44 + 80 + 8 + 1] == 6, "I/O APIC: 5 is taken")
        #expect(try MPTable(apicIDs: [0, 3, 254]).configuration[44 + 60 + 8 + 1] == 4)
    }

    @Test func impossibleCPUs_areRefused() {
        #expect(throws: X86BootPlanError.cpuCount(0)) { _ = try MPTable(apicIDs: []) }
        #expect(throws: X86BootPlanError.cpuCount(255)) { _ = try table(255) }
        #expect(throws: X86BootPlanError.apicID(255)) { _ = try MPTable(apicIDs: [0, 255]) }
        #expect(throws: X86BootPlanError.apicID(.max)) { _ = try MPTable(apicIDs: [.max]) }
        #expect(throws: X86BootPlanError.apicID(1)) { _ = try MPTable(apicIDs: [0, 1, 1]) }
    }
}
