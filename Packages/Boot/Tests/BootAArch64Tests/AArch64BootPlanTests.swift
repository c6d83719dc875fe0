import BootCommon
import BootTestSupport
import Testing

@testable import BootAArch64

@Suite struct AArch64BootPlanTests {
    private static let base: UInt64 = 0x4000_0000
    private static let MiB: UInt64 = 1 << 20

    private func header(
        textOffset: UInt64 = 0, imageSize: UInt64 = 0x10_0000, flags: UInt64 = 0xa
    ) throws(AArch64ImageError) -> AArch64ImageHeader {
        try AArch64ImageHeader(
            LittleEndianBytes(SyntheticAArch64Image(size: 64, textOffset: textOffset, imageSize: imageSize, flags: flags).bytes))
    }

    private func plan(
        _ header: AArch64ImageHeader, file: UInt64 = 4096, initrd: UInt64? = nil, base: UInt64 = Self.base,
        ram: UInt64 = 64 * Self.MiB
    ) throws(AArch64BootPlanError) -> AArch64BootPlan {
        try AArch64BootPlan(header: header, kernelSize: file, initrdSize: initrd, ramBase: base, ramSize: ram)
    }

    @Test func kernel_goesBehindTheTree() throws {
        let plan = try plan(header())
        #expect(plan.kernel == GuestRange(start: 0x4020_0000, count: 0x10_0000))
        #expect(plan.deviceTree == GuestRange(start: 0x4000_0000, end: 0x4020_0000))
        #expect(plan.room == GuestRange(start: 0x4020_0000, end: 0x4400_0000))
        #expect(plan.initrd == nil)
        #expect(try self.plan(header(textOffset: 0x8_0000)).kernel.start == 0x4028_0000)
        #expect(try self.plan(header(imageSize: 0)).kernel == GuestRange(start: 0x4028_0000, count: 4096))
        #expect(try self.plan(header(textOffset: 0x123_0000)).kernel.start == 0x4143_0000)
    }

    @Test func kernel_hasItsFileOrItsImageSize_whicheverIsLarger() throws {
        #expect(try plan(header(imageSize: 0x2000), file: 0x5000).kernel.count == 0x5000)
        #expect(try plan(header(imageSize: 0x5000), file: 0x2000).kernel.count == 0x5000)
        #expect(try plan(header(imageSize: 0), file: 0).kernel.count == 64)
    }

    @Test func bssThatLeavesRAM_isRefused() throws {
        let room: UInt64 = 62 * Self.MiB
        #expect(try plan(header(imageSize: room)).kernel.end == 0x4400_0000)
        let tooLarge = try #require(GuestRange(start: 0x4020_0000, count: room + 1))
        #expect(throws: AArch64BootPlanError.kernelDoesNotFit(tooLarge, limit: 0x4400_0000)) {
            try plan(header(imageSize: room + 1))
        }
        #expect(throws: AArch64BootPlanError.kernelDoesNotFit(tooLarge, limit: 0x4400_0000)) {
            try plan(header(), file: room + 1)
        }
        #expect(throws: AArch64BootPlanError.kernelWraps(textOffset: 0, size: .max)) { try plan(header(imageSize: .max)) }
    }

    @Test func textOffsetThatLeavesRAM_isRefused() throws {
        #expect(throws: AArch64BootPlanError.kernelWraps(textOffset: .max - 3, size: 0x10_0000)) {
            try plan(header(textOffset: .max - 3))
        }
        let far = try #require(GuestRange(start: 0x4400_0000, count: 0x10_0000))
        #expect(throws: AArch64BootPlanError.kernelDoesNotFit(far, limit: 0x4400_0000)) {
            try plan(header(textOffset: 62 * Self.MiB))
        }
    }

    @Test func impossibleRAM_isRefused() throws {
        let cases: [(UInt64, UInt64)] = [
            (Self.base, 0), (Self.base, 2 * Self.MiB), (Self.base, .max), (Self.base + 4096, 64 * Self.MiB),
            (.max & ~0x1f_ffff, 2 * Self.MiB), (Self.base, (1 << 48) - Self.base + 1),
        ]
        for (base, size) in cases {
            #expect(throws: AArch64BootPlanError.ram(base: base, size: size)) { try plan(header(), base: base, ram: size) }
        }
        #expect(throws: Never.self) { try plan(header(), ram: (1 << 48) - Self.base) }
        #expect(throws: Never.self) { try plan(header(), base: 0) }
    }

    @Test func initrd_endsAtRAMsEnd_onThePageOfTheKernel() throws {
        #expect(try plan(header(flags: 0b0010), initrd: 5000).initrd == GuestRange(start: 0x43ff_e000, count: 5000))
        #expect(try plan(header(flags: 0b0100), initrd: 5000).initrd == GuestRange(start: 0x43ff_c000, count: 5000))
        #expect(try plan(header(flags: 0b0110), initrd: 5000).initrd == GuestRange(start: 0x43ff_0000, count: 5000))
        #expect(try plan(header(flags: 0), initrd: 5000).initrd == GuestRange(start: 0x43ff_0000, count: 5000))
        #expect(try plan(header(), initrd: 5000).room == GuestRange(start: 0x4020_0000, end: 0x43ff_e000))
    }

    @Test func initrd_liesInTheWindowOfTheKernel() throws {
        let ram: UInt64 = 256 << 30
        #expect(try plan(header(), initrd: 4096, ram: ram).initrd?.end == Self.base + 32 << 30)
        // The window starts at a multiple of 1 GiB below the kernel.
        #expect(try plan(header(textOffset: 3 << 30), initrd: 4096, ram: ram).initrd?.end == 36 << 30)
        #expect(try plan(header(textOffset: (1 << 30) - 0x20_0000), initrd: 4096, ram: ram).initrd?.end == 34 << 30)
        #expect(throws: AArch64BootPlanError.self) { try plan(header(), initrd: 32 << 30, ram: ram) }
    }

    @Test func initrdWithoutRoom_isRefused() throws {
        let kernel = try #require(GuestRange(start: 0x4020_0000, count: 0x10_0000))
        let room: UInt64 = 61 * Self.MiB
        #expect(try plan(header(), initrd: room).initrd?.start == kernel.end)
        for size in [room + 1, 64 * Self.MiB, 1 << 40, .max] {
            #expect(throws: AArch64BootPlanError.initrdDoesNotFit(size: size, kernel: kernel, limit: 0x4400_0000)) {
                try plan(header(), initrd: size)
            }
        }
        #expect(throws: AArch64BootPlanError.initrdEmpty) { try plan(header(), initrd: 0) }
    }

    @Test func errors_areSentences() throws {
        let range = try #require(GuestRange(start: 0x1000, end: 0x2000))
        let cases: [(AArch64BootPlanError, String, BootFileKind?)] = [
            (.ram(base: 0x1000, size: 5), "no kernel boots in 5 bytes of memory at 0x1000", nil),
            (.kernelWraps(textOffset: 16, size: 5), "needs 5 bytes from text offset 0x10 on, more than 64 bits count", .kernel),
            (.kernelDoesNotFit(range, limit: 0x1800), "needs memory 0x1000..0x2000, but RAM ends at 0x1800", .kernel),
            (.initrdEmpty, "the file is empty", .initrd),
            (
                .initrdDoesNotFit(size: 5, kernel: range, limit: 0x2001),
                "5 bytes do not fit between the kernel at 0x1000..0x2000 and 0x2001: give the machine more memory", .initrd
            ),
        ]
        for (error, text, file) in cases {
            #expect(error.description == text)
            #expect(error.file == file)
        }
    }

    /// Whatever the sizes are: an error, or a plan whose parts lie in RAM and apart from each other.
    @Test func randomSizes_neverOverlap() throws {
        var random = SeededGenerator(seed: 42)
        func size() -> UInt64 {
            switch UInt8.random(in: 0..<8, using: &random) {
            case 0: [0, 1, 63, 64, 4095, 4096, .max, .max - 4095, 1 << 47, 1 << 48].randomElement(using: &random) ?? 0
            default: UInt64.random(in: 0...UInt64.max, using: &random) >> UInt64.random(in: 16..<64, using: &random)
            }
        }
        var plans = 0
        for _ in 0..<20_000 {
            guard let header = try? header(textOffset: size() & ~3, imageSize: size(), flags: UInt64.random(in: 0..<8, using: &random) << 1)
            else { continue }
            let base = Bool.random(using: &random) ? Self.base : size() & ~0x1f_ffff
            let ram = Bool.random(using: &random) ? UInt64.random(in: 3 * Self.MiB...64 << 30, using: &random) : size()
            let file = size()
            let initrd = Bool.random(using: &random) ? size() : nil
            guard let plan = try? plan(header, file: file, initrd: initrd, base: base, ram: ram) else { continue }
            plans += 1
            #expect(plan.deviceTree.start == base && plan.deviceTree.count == 2 << 20)
            #expect(plan.kernel.count >= max(file, header.imageSize ?? 0))
            #expect((plan.kernel.start &- header.textOffset).isMultiple(of: 2 << 20))
            let all = try #require(GuestRange(start: base, count: ram))
            let parts = [plan.deviceTree, plan.kernel] + [plan.initrd].compactMap { $0 }
            for (index, part) in parts.enumerated() {
                #expect(all.contains(part))
                for other in parts[..<index] { #expect(!part.overlaps(other)) }
            }
            #expect(all.contains(plan.room) && plan.room.contains(plan.kernel) && !plan.room.overlaps(plan.deviceTree))
            #expect(plan.initrd?.count == initrd)
            if let initrd = plan.initrd {
                #expect(!plan.room.overlaps(initrd))
                #expect(initrd.start.isMultiple(of: header.pageSize ?? 65536))
                let window = plan.kernel.start >> 30
                #expect((initrd.end - 1) >> 30 < window + 32 && (plan.kernel.end - 1) >> 30 < window + 32)
            }
        }
        #expect(plans > 1000)
    }
}
