@testable import CPU
import Hypervisor
import Testing

@Suite struct X86CPUIDTests {
    /// An Intel host with 12 cores of 2 threads.
    static let intel: [CPUIDEntry] = [
        CPUIDEntry(function: 0, eax: 0x1F, ebx: 0x756E_6547, ecx: 0x6C65_746E, edx: 0x4965_6E69),
        CPUIDEntry(function: 1, eax: 0x806F8, ebx: 0x1718_0800, ecx: 0x7FFA_3203, edx: 0x1F8B_FBFF),
        CPUIDEntry(function: 2, eax: 0x00FE_FF01, ebx: 0xF0, ecx: 0, edx: 0),
        CPUIDEntry(function: 4, index: 0, indexIsSignificant: true, eax: 0xFC00_4121, ebx: 0x02C0_003F, ecx: 0x3F),
        CPUIDEntry(function: 4, index: 2, indexIsSignificant: true, eax: 0xFC00_4143, ebx: 0x03C0_003F, ecx: 0x7FF),
        CPUIDEntry(function: 4, index: 3, indexIsSignificant: true, eax: 0xFC1F_C163, ebx: 0x0380_003F, ecx: 0x1_BFFF),
        CPUIDEntry(function: 4, index: 4, indexIsSignificant: true),
        CPUIDEntry(function: 6, eax: 4, ecx: 9),
        CPUIDEntry(function: 0xA, eax: 0x0730_0805, edx: 0x8604),
        CPUIDEntry(function: 0xB, index: 0, indexIsSignificant: true, eax: 1, ebx: 2, ecx: 0x100, edx: 0x17),
        CPUIDEntry(function: 0x1F, index: 0, indexIsSignificant: true, eax: 1, ebx: 2, ecx: 0x100, edx: 0x17),
        CPUIDEntry(function: 0x4000_0000, eax: 0x4000_0001, ebx: 0x4B4D_564B, ecx: 0x564B_4D56, edx: 0x4D),
        CPUIDEntry(function: 0x8000_0002, eax: 0x6574_6E49),
        CPUIDEntry(function: 0x8000_0008, eax: 0x3934, ecx: 0),
    ]

    static let amd: [CPUIDEntry] = [
        CPUIDEntry(function: 0, eax: 0x10, ebx: 0x6874_7541, ecx: 0x444D_4163, edx: 0x6974_6E65),
        CPUIDEntry(function: 1, eax: 0xA00F11, ebx: 0x0102_0800, ecx: 0x8120_2000, edx: 0x078B_FBFF),
        CPUIDEntry(function: 4, index: 0, indexIsSignificant: true),
        CPUIDEntry(function: 0x8000_0001, ecx: 0x0040_0391),
        CPUIDEntry(function: 0x8000_0008, eax: 0x3030, ebx: 0x5002_0005, ecx: 0x0001_7001),
        CPUIDEntry(function: 0x8000_001D, index: 0, indexIsSignificant: true, eax: 0x4121, ebx: 0x01C0_003F),
        CPUIDEntry(function: 0x8000_001D, index: 3, indexIsSignificant: true, eax: 0x3_C163, ebx: 0x03C0_003F),
        CPUIDEntry(function: 0x8000_001D, index: 4, indexIsSignificant: true),
        CPUIDEntry(function: 0x8000_001E),
        CPUIDEntry(function: 0x8000_0026, index: 0, indexIsSignificant: true, eax: 1, ebx: 2, ecx: 0x100, edx: 7),
    ]

    private func leaf(_ entries: [CPUIDEntry], _ function: UInt32, _ index: UInt32 = 0) throws -> CPUIDEntry {
        let found = entries.filter { $0.function == function && $0.index == index }
        #expect(found.count == 1, "leaf \(function) \(index)")
        return try #require(found.first)
    }

    @Test func leaf1_describesTheVCPU() throws {
        let t = try CPUTopology(cpus: 6, sockets: 1, cores: 3, threads: 2)
        let entries = X86CPUID.entries(supported: Self.intel, topology: t, apicID: t.apicID(of: 5), tscDeadlineTimer: true)
        let one = try leaf(entries, 1)
        #expect(one.eax == 0x806F8)
        // APIC id 5, 8 ids in the socket, CLFLUSH of 8, brand index 0.
        #expect(one.ebx == 0x0508_0800)
        #expect(one.ecx == 0x7FFA_3203 | 1 << 31 | 1 << 24)
        #expect(one.edx == 0x1F8B_FBFF)
    }

    @Test func leaf1_oneCPUNoTimer_hasNoHyperThreadingAndNoTSCDeadline() throws {
        let entries = X86CPUID.entries(supported: Self.intel, topology: try CPUTopology(), apicID: 0, tscDeadlineTimer: false)
        let one = try leaf(entries, 1)
        #expect(one.ebx == 0x0001_0800)
        #expect(one.edx & 1 << 28 == 0)
        // KVM's own bit is not taken away.
        #expect(one.ecx == 0xFFFA_3203)
    }

    @Test func leaf4_sharesCachesAsTheTopologySays() throws {
        let t = try CPUTopology(cpus: 16, sockets: 2, cores: 4, threads: 2)
        let entries = X86CPUID.entries(supported: Self.intel, topology: t, apicID: 0, tscDeadlineTimer: true)
        #expect(try leaf(entries, 4, 0).eax == 3 << 26 | 1 << 14 | 0x121)
        #expect(try leaf(entries, 4, 2).eax == 3 << 26 | 1 << 14 | 0x143)
        #expect(try leaf(entries, 4, 3).eax == 3 << 26 | 7 << 14 | 0x163)
        #expect(try leaf(entries, 4, 3).ebx == 0x0380_003F)
        #expect(try leaf(entries, 4, 4).eax == 0)
        // 6 bits hold no more than 64 cores.
        let wide = X86CPUID.entries(supported: Self.intel, topology: try CPUTopology(cpus: 254), apicID: 0, tscDeadlineTimer: true)
        #expect(try leaf(wide, 4, 3).eax == 63 << 26 | 255 << 14 | 0x163)
    }

    @Test func leaves_fromTheHost_stayAsTheyAre() throws {
        let entries = X86CPUID.entries(supported: Self.intel, topology: try CPUTopology(), apicID: 0, tscDeadlineTimer: true)
        for function: UInt32 in [2, 0x4000_0000, 0x8000_0002, 0x8000_0008] {
            let host = try #require(Self.intel.first { $0.function == function })
            #expect(try leaf(entries, function) == host)
        }
    }

    @Test func leaf6_hasNoEnergyBias_andLeafAIsZeroUnlessVersion2() throws {
        let t = try CPUTopology()
        let entries = X86CPUID.entries(supported: Self.intel, topology: t, apicID: 0, tscDeadlineTimer: true)
        #expect(try leaf(entries, 6) == CPUIDEntry(function: 6, eax: 4, ecx: 1))
        #expect(try leaf(entries, 0xA) == CPUIDEntry(function: 0xA))
        let old = CPUIDEntry(function: 0xA, eax: 0x0730_0402, edx: 0x603)
        #expect(try leaf(X86CPUID.entries(supported: [old], topology: t, apicID: 0, tscDeadlineTimer: true), 0xA) == old)
    }

    @Test func leafB_oneDie_describesThreadsAndCores() throws {
        let t = try CPUTopology(cpus: 12, sockets: 2, cores: 3, threads: 2)
        let id = t.apicID(of: 7)
        #expect(id == 9)
        let entries = X86CPUID.entries(supported: Self.intel, topology: t, apicID: id, tscDeadlineTimer: true)
        #expect(try leaf(entries, 0xB, 0)
            == CPUIDEntry(function: 0xB, index: 0, indexIsSignificant: true, eax: 1, ebx: 2, ecx: 0x100, edx: 9))
        #expect(try leaf(entries, 0xB, 1)
            == CPUIDEntry(function: 0xB, index: 1, indexIsSignificant: true, eax: 3, ebx: 6, ecx: 0x201, edx: 9))
        #expect(try leaf(entries, 0xB, 2)
            == CPUIDEntry(function: 0xB, index: 2, indexIsSignificant: true, eax: 0, ebx: 0, ecx: 2, edx: 9))
        // The host's 0x1F would contradict it.
        #expect(!entries.contains { $0.function == 0x1F })
        #expect(try leaf(entries, 0).eax == 0x1F)
    }

    @Test func leaf1F_severalDies_describesThemToo() throws {
        let t = try CPUTopology(cpus: 8, sockets: 1, dies: 2, cores: 2, threads: 2)
        let entries = X86CPUID.entries(supported: Self.amd, topology: t, apicID: 6, tscDeadlineTimer: true)
        #expect(try leaf(entries, 0).eax == 0x1F)
        #expect(try leaf(entries, 0xB, 1).eax == 3)
        let levels = try (0..<4).map { try leaf(entries, 0x1F, $0) }
        #expect(levels.map(\.eax) == [1, 2, 3, 0])
        #expect(levels.map(\.ebx) == [2, 4, 8, 0])
        #expect(levels.map(\.ecx) == [0x100, 0x201, 0x502, 3])
        #expect(levels.allSatisfy { $0.edx == 6 && $0.indexIsSignificant })
    }

    @Test func amdLeaves_countProcessorsAndNameTheCore() throws {
        let t = try CPUTopology(cpus: 12, sockets: 2, cores: 3, threads: 2)
        let entries = X86CPUID.entries(supported: Self.amd, topology: t, apicID: 9, tscDeadlineTimer: true)
        #expect(try leaf(entries, 1).ebx == 0x0906_0800)
        #expect(try leaf(entries, 0x8000_0001).ecx == 0x0040_0393)
        #expect(try leaf(entries, 0x8000_0008).ecx == 0x0001_3005)
        #expect(try leaf(entries, 0x8000_0008).ebx == 0x5002_0005)
        #expect(try leaf(entries, 0x8000_001D, 0).eax == 1 << 14 | 0x121)
        #expect(try leaf(entries, 0x8000_001D, 3).eax == 5 << 14 | 0x163)
        #expect(try leaf(entries, 0x8000_001D, 4).eax == 0)
        // Thread 1 of core 0 of socket 1, two threads a core, one node a socket.
        #expect(try leaf(entries, 0x8000_001E) == CPUIDEntry(function: 0x8000_001E, eax: 9, ebx: 0x100, ecx: 1))
        #expect(!entries.contains { $0.function == 0x8000_0026 })
    }

    @Test func amdLeaves_oneCPU_isNoMultiprocessor() throws {
        let entries = X86CPUID.entries(supported: Self.amd, topology: try CPUTopology(), apicID: 0, tscDeadlineTimer: true)
        #expect(try leaf(entries, 0x8000_0001).ecx == 0x0040_0391)
        #expect(try leaf(entries, 0x8000_0008).ecx == 0x0001_0000)
        #expect(try leaf(entries, 1).edx & 1 << 28 == 0)
    }

    @Test func entries_emptyOrStrangeList_makeNoTrap() throws {
        let t = try CPUTopology(cpus: 254, sockets: 127, cores: 2)
        #expect(X86CPUID.entries(supported: [], topology: t, apicID: .max, tscDeadlineTimer: true).count == 3)
        let strange = (0..<0x30).map { CPUIDEntry(function: $0, eax: .max, ebx: .max, ecx: .max, edx: .max) }
        #expect(!X86CPUID.entries(supported: strange, topology: t, apicID: .max, tscDeadlineTimer: true).isEmpty)
    }
}
