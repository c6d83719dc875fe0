import Glibc
@testable import Hypervisor
import LinuxSys
import Testing

/// KVM's own statistics, of this machine's kernel.
@Suite struct KVMStatisticsTests {
    @Test func machineAndVCPU_haveWhatKVMDocuments() throws {
        // nop; out 0x80, al; jmp back
        let guest = try Guest([0x90, 0xe6, 0x80, 0xeb, 0xfb])
        try guest.enterLongMode()
        let machine = guest.machine.statistics(), idle = guest.cpu.statistics()
        #expect(Set(machine.map(\.name)).count == machine.count && machine.contains { $0.name == "remote_tlb_flush" })
        func exits(_ statistics: [HypervisorStatistic]) throws -> UInt64 { try #require(statistics.first { $0.name == "exits" }?.values.first) }
        let before = try exits(idle)
        for _ in 0..<100 { #expect(guest.run() == .portOut(port: 0x80, size: 1, count: 1)) }
        #expect(try exits(guest.cpu.statistics()) >= before + 100)
        // Histograms have as many values as they say, and units are understood.
        let histogram = try #require(idle.first { $0.name == "halt_wait_hist" })
        #expect(histogram.kind == .logHistogram && histogram.unit == .seconds && histogram.exponent == -9 && histogram.values.count > 8)
        #expect(idle.contains { $0.unit == .boolean } && idle.allSatisfy { !$0.name.isEmpty && !$0.values.isEmpty })
    }

    @Test func asking_leavesNoDescriptorBehind() throws {
        let guest = try Guest([0xf4])
        func open() -> Int { (0..<200 as Range<Int32>).count { fcntl($0, F_GETFD) >= 0 } }
        _ = guest.machine.statistics()
        // Others open and close in this process meanwhile: what leaks here would be a hundred.
        let before = open()
        for _ in 0..<100 { _ = guest.machine.statistics() }
        #expect(open() < before + 50)
    }

    /// A file that is none, or lies.
    @Test func contentsThatMakeNoSense_giveNothing() throws {
        func read(_ words: [UInt32], _ rest: [UInt8] = []) throws -> [HypervisorStatistic] {
            var name = Array("/tmp/statistics-XXXXXX".utf8CString)
            let file = OwnedFD(adopting: unsafe mkstemp(&name))
            unsafe unlink(name)
            try file.writeAll(words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } } + rest)
            return KVMStatistics.read(file)
        }
        // flags, name_size, num_desc, id_offset, desc_offset, data_offset; then flags, exponent and size, offset, bucket_size, the name; the value.
        func one(flags: UInt32 = 0, size: UInt32 = 1, offset: UInt32 = 0) -> [UInt32] { [0, 4, 1, 24, 24, 44, flags, size << 16, offset, 0, 0x0061_6161, 7, 0] }
        #expect(try read(one()) == [HypervisorStatistic(name: "aaa", kind: .cumulative, values: [7])])
        #expect(try read([]) == [])
        #expect(try read([0, 4, .max, 24, 24, 44]) == [])
        #expect(try read([0, 0, 1, 24, 24, 44] + [UInt32](repeating: 0, count: 20)) == [])
        #expect(try read([0, .max, 1, 24, 24, 44] + [UInt32](repeating: 0, count: 20)) == [])
        #expect(try read([0, 4, 1, 24, .max, .max]) == [])
        #expect(try read(one(offset: .max)) == [] && read(one(offset: 4)) == [] && read(one(size: 0xffff)) == [] && read(one(size: 0)) == [])
        // Kinds, units and bases of a later kernel.
        #expect(try read(one(flags: 0xf)) == [] && read(one(flags: 0xf0)) == [] && read(one(flags: 0xf00)) == [])
    }
}
