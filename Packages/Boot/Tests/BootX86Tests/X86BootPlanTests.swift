import BootCommon
import BootTestSupport
@testable import BootX86
import Testing

@Suite struct X86BootPlanTests {
    private func image(_ bytes: [UInt8]) throws -> KernelImage {
        try KernelImage(recognising: BytesKernelSource(bytes))
    }

    private func plan(
        _ image: KernelImage, initrd: UInt64? = nil, commandLine: String = "quiet", ram: UInt64 = 128 << 20,
        cpus: UInt32 = 1, rsdp: UInt64? = nil
    ) throws -> X86BootPlan {
        try X86BootPlan(
            image: image, initrdSize: initrd, commandLine: Array(commandLine.utf8),
            layout: try X86MemoryLayout(ramSize: ram), apicIDs: Array(0..<cpus), rsdp: rsdp)
    }

    private func message(_ body: () throws -> X86BootPlan) -> String {
        do { return "accepted: \(try body().loads)" } catch { return "\(error)" }
    }

    private func block(_ plan: X86BootPlan, at address: UInt64) throws -> [UInt8] {
        try #require(plan.blocks.first { $0.address == address }).bytes
    }

    @Test func bzImagePlan_fillsTheZeroPage() throws {
        var kernel = SyntheticBzImage().bytes
        kernel.put(UInt32(0x1234_5678), at: 0x218)
        kernel[0x210] = 0x12
        let plan = try plan(try image(kernel), initrd: 5000, rsdp: 0xe0000)
        let page = try block(plan, at: 0x7000)
        #expect(page.count == 4096)
        #expect(page.get(UInt64.self, at: 0x70) == 0xe0000)
        #expect(page[0x1e8] == 5 && page[0x1ef] == 0)
        #expect(page[0x1f1] == 1 && page.get(UInt32.self, at: 0x1f4) == 256)
        #expect(page.get(UInt16.self, at: 0x1fe) == 0xaa55)
        #expect(page.get(UInt32.self, at: 0x202) == 0x5372_6448 && page.get(UInt16.self, at: 0x206) == 0x020f)
        #expect(page[0x210] == 0xff && page[0x211] == 1)
        #expect(page.get(UInt32.self, at: 0x218) == 0x7ff_e000)
        #expect(page.get(UInt32.self, at: 0x21c) == 5000)
        #expect(page.get(UInt32.self, at: 0x228) == 0x2_0000)
        #expect(page.get(UInt32.self, at: 0x238) == 5)
        #expect(page.get(UInt32.self, at: 0x260) == 0x10_0000)
        #expect(page.get(UInt64.self, at: 0x2d0 + 20) == 0x9fc00 && page.get(UInt32.self, at: 0x2d0 + 36) == 2)
        #expect(page.get(UInt32.self, at: 0x2d0 + 3 * 20 + 16) == 3)
        #expect(plan.entry == .long(rip: 0x100_0200))
        #expect(
            plan.loads == [
                .init(file: .kernel, fileOffset: 1024, count: 4096, address: 0x100_0000),
                .init(file: .initrd, fileOffset: 0, count: 5000, address: 0x7ff_e000),
            ])
        #expect(try block(plan, at: 0x2_0000) == Array("quiet".utf8) + [0])
        #expect(try block(plan, at: 0x500) == DescriptorTables.long.bytes)
        #expect(try block(plan, at: 0x9000) == IdentityPageTables.bytes)
    }

    @Test func oversizedSetupHeader_staysInsideItsPartOfTheZeroPage() throws {
        var kernel = SyntheticBzImage().bytes
        kernel[0x201] = 0xff
        for offset in 0x270..<0x301 { kernel[offset] = 0xee }
        let page = try block(try plan(try image(kernel)), at: 0x7000)
        #expect(page[0x28f] == 0xee && page[0x290] == 0)
        #expect(page.get(UInt64.self, at: 0x2d0) == 0)
    }

    @Test func flatPlan_hasAFreshHeader() throws {
        let plan = try plan(.flat(size: 100))
        #expect(plan.entry == .long(rip: 0x100_0000))
        #expect(plan.loads == [.init(file: .kernel, fileOffset: 0, count: 100, address: 0x100_0000)])
        let page = try block(plan, at: 0x7000)
        #expect(page.get(UInt16.self, at: 0x1fe) == 0xaa55 && page.get(UInt32.self, at: 0x202) == 0x5372_6448)
        #expect(page[0x210] == 0xff && page.get(UInt32.self, at: 0x218) == 0)
        #expect(page.get(UInt64.self, at: 0x70) == 0 && page[0x1e8] == 4)
    }

    @Test func elfPlan_loadsSegmentsAndNamesTheBSS() throws {
        let plan = try plan(try image(SyntheticELF().bytes))
        #expect(plan.loads.map(\.address) == [0x100_0000, 0x120_0000])
        #expect(plan.zeroed == [GuestRange(start: 0x120_0400, end: 0x120_4000)].compactMap { $0 })
        #expect(plan.entry == .long(rip: 0x100_0000))
    }

    @Test func pvhPlan_hasStartInfoInsteadOfAZeroPage() throws {
        let elf = SyntheticELF(entry: 0, pvhEntry: 0x100_0010).bytes
        let plan = try plan(try image(elf), initrd: 4096, rsdp: 0xe0010)
        #expect(plan.entry == .pvh(rip: 0x100_0010))
        #expect(!plan.blocks.contains { $0.address == 0x7000 || $0.address == 0x9000 })
        #expect(try block(plan, at: 0x500) == DescriptorTables.flat32.bytes)
        let info = try block(plan, at: 0x6000)
        #expect(info.get(UInt32.self, at: 0) == 0x336e_c578 && info.get(UInt32.self, at: 4) == 1)
        #expect(info.get(UInt32.self, at: 8) == 0 && info.get(UInt32.self, at: 12) == 1)
        #expect(info.get(UInt64.self, at: 16) == 0x6040 && info.get(UInt64.self, at: 24) == 0x2_0000)
        #expect(info.get(UInt64.self, at: 32) == 0xe0010 && info.get(UInt64.self, at: 40) == 0x6080)
        #expect(info.get(UInt32.self, at: 48) == 5)
        #expect(info.get(UInt64.self, at: 0x40) == 0x7ff_f000 && info.get(UInt64.self, at: 0x48) == 4096)
        #expect(info.get(UInt64.self, at: 0x80 + 4 * 24) == 0x10_0000)
        #expect(info.get(UInt64.self, at: 0x80 + 4 * 24 + 8) == 127 << 20)
        #expect(info.get(UInt32.self, at: 0x80 + 4 * 24 + 16) == 1)
        #expect(info.count == 0x80 + 5 * 24)
    }

    @Test func mpTable_isAlwaysThere() throws {
        let small = try plan(.flat(size: 100))
        #expect(try block(small, at: 0x9fc00).prefix(4) == [0x5f, 0x4d, 0x50, 0x5f])
        #expect(try block(small, at: 0x9fc10).prefix(4) == [0x50, 0x43, 0x4d, 0x50])
        #expect(try block(try plan(.flat(size: 100), cpus: 254), at: 0xd0000).prefix(4) == [0x50, 0x43, 0x4d, 0x50])
    }

    @Test func initrd_endsBelowRAMAndTheKernelsLimit() throws {
        #expect(try plan(.flat(size: 100), initrd: 4096, ram: 8 << 30).initrd?.start == 0x37ff_e000)
        #expect(try plan(.flat(size: 100), initrd: 4095, ram: 8 << 30).initrd?.start == 0x37ff_f000)
        #expect(try plan(.flat(size: 100), initrd: 1, ram: 128 << 20).initrd?.start == 0x7ff_f000)
        var kernel = SyntheticBzImage().bytes
        kernel.put(UInt32(0x3ff_ffff), at: 0x22c)
        #expect(try plan(try image(kernel), initrd: 4096).initrd?.start == 0x3ff_e000)
    }

    @Test func initrd_thatDoesNotFit_isRefused() throws {
        let kernel = try image(SyntheticBzImage().bytes)
        #expect(message { try plan(kernel, initrd: 0) } == "the file is empty")
        #expect(message { try plan(kernel, initrd: 200 << 20) } == "209715200 bytes do not fit below 0x8000000")
        #expect(message { try plan(kernel, initrd: .max) } == "\(UInt64.max) bytes do not fit below 0x8000000")
        #expect(message { try plan(kernel, initrd: 128 << 20) } == "134217728 bytes do not fit below 0x8000000")
        #expect(
            message { try plan(kernel, initrd: 0x6f0_0001) }
                == "its place 0x10ff000..0x7fff001 overlaps the kernel at 0x1000000..0x1100000: give the machine more memory")
        #expect(try plan(kernel, initrd: 0x6f0_0000).initrd?.start == 0x110_0000)
    }

    @Test func kernelThatDoesNotFit_isRefused() throws {
        let kernel = try image(SyntheticBzImage().bytes)
        #expect(
            message { try plan(kernel, ram: 16 << 20) } == "needs memory 0x1000000..0x1100000, but RAM ends at 0x1000000")
        #expect(try plan(kernel, ram: 17 << 20).kernel.first?.end == 0x110_0000)
        #expect(
            message { try plan(.flat(size: 1 << 30), ram: 4 << 30) }
                == "needs memory 0x1000000..0x41000000, but what is mapped at entry ends at 0x40000000")
        #expect(
            message { try plan(.flat(size: .max), ram: 4 << 30) } == "needs memory from 0x1000000 on, more than 64 bits count")
        #expect(
            message { try plan(try image(SyntheticELF().bytes), ram: 18 << 20) }
                == "segment 1 needs memory 0x1200000..0x1204000, but RAM ends at 0x1200000")
    }

    @Test(arguments: [
        (0x0, 0x400), (0x500, 0x10), (0x9000, 0x1000), (0x2_ffff, 2), (0x9_f000, 0x1000), (0xe_0000, 0x100),
        (0xf_ffff, 2), (0x3_0000, 0x10_0000),
    ] as [(UInt64, UInt64)])
    func segmentOverTheBootTables_isRefused(address: UInt64, size: UInt64) throws {
        var elf = SyntheticELF()
        elf.bytes.put(address, at: 120 + 24)
        elf.bytes.put(UInt64(0), at: 120 + 32)
        elf.bytes.put(size, at: 120 + 40)
        let kernel = try image(elf.bytes)
        #expect(throws: X86BootPlanError.overlapsBootTables(.segment(1), GuestRange(start: address, count: size)!)) {
            _ = try plan(kernel)
        }
    }

    @Test func segmentInFreeLowMemory_isAccepted() throws {
        var elf = SyntheticELF()
        elf.bytes.put(UInt64(0x3_0000), at: 120 + 24)
        #expect(try plan(try image(elf.bytes)).loads.last?.address == 0x3_0000)
    }

    @Test func commandLine_isLimitedByTheKernel() throws {
        let kernel = try image(SyntheticBzImage().bytes)
        let longest = String(repeating: "a", count: 2047)
        #expect(try block(try plan(kernel, commandLine: longest), at: 0x2_0000).count == 2048)
        let tooLong = "kernel command line has 2048 bytes, this kernel accepts 2047"
        #expect(message { try plan(kernel, commandLine: longest + "a") } == tooLong)
        #expect(message { try plan(.flat(size: 4), commandLine: longest + "a") } == tooLong)
        var generous = SyntheticBzImage().bytes
        generous.put(UInt32.max, at: 0x238)
        let huge = String(repeating: "a", count: 0x1_0000)
        #expect(
            message { try plan(try image(generous), commandLine: huge) }
                == "kernel command line has 65536 bytes, this kernel accepts 65535")
        let old = try image(SyntheticBzImage(version: 0x0205).bytes)
        #expect(
            message { try plan(old, commandLine: String(repeating: "a", count: 256)) }
                == "kernel command line has 256 bytes, this kernel accepts 255")
    }

    @Test func commandLineWithNUL_isRefused() {
        #expect(
            message { try plan(.flat(size: 4), commandLine: "quiet\0init=/bin/sh") }
                == "kernel command line has a NUL byte at position 5")
    }

    @Test(arguments: [0, 0xd_0000, 0xe_0008, 0x10_0000, UInt64.max])
    func rsdpOutsideItsArea_isRefused(address: UInt64) {
        #expect(throws: X86BootPlanError.rsdpAddress(address)) { _ = try plan(.flat(size: 4), rsdp: address) }
    }
}
