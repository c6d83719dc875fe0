import BootCommon
import BootTestSupport
import BootX86
import Testing

/// A kernel file is input of an unknown origin: whatever it holds, the answer is a plan inside RAM or an error.
@Suite struct HostileKernelTests {
    private static let interesting: [UInt64] = [
        0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
        0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, .max, .max - 1, .max - 4095, 0x10_0000, 0x100_0000, 0x3fff_f000,
    ]

    private func mutate(_ bytes: inout [UInt8], within limit: Int, using random: inout SeededGenerator) {
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            let offset = Int.random(in: 0..<limit - 8, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[offset] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes[offset] = UInt8.random(in: 0...255, using: &random)
            case 2:
                bytes.put(UInt32(truncatingIfNeeded: Self.interesting.randomElement(using: &random) ?? 0), at: offset)
            default: bytes.put(Self.interesting.randomElement(using: &random) ?? 0, at: offset)
            }
        }
        if Int.random(in: 0..<16, using: &random) == 0 {
            bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
        }
    }

    /// The outcome of everything that is worked out from a file's content.
    private func planOrError(_ bytes: [UInt8], layout: X86MemoryLayout) -> X86BootPlan? {
        do {
            let image = try KernelImage(recognising: BytesKernelSource(bytes))
            return try X86BootPlan(
                image: image, initrdSize: 1 << 20, commandLine: Array("console=ttyS0".utf8), layout: layout, apicIDs: [0, 1],
                rsdp: 0xe0000)
        } catch {
            #expect(!"\(error)".isEmpty)
            return nil
        }
    }

    private func expectInsideRAM(_ plan: X86BootPlan, file: [UInt8], layout: X86MemoryLayout) {
        for load in plan.loads {
            #expect(load.count > 0 && load.address >= 0x3_0000)
            #expect(load.address + load.count <= layout.bootLimit)
            if load.file == .kernel { #expect(load.fileOffset + load.count <= UInt64(file.count)) }
        }
        for range in plan.zeroed { #expect(range.end <= layout.bootLimit) }
        for block in plan.blocks { #expect(block.address + UInt64(block.bytes.count) <= 0x10_0000) }
        if let initrd = plan.initrd { #expect(!plan.kernel.contains { $0.overlaps(initrd) }) }
    }

    private func hammer(_ seed: UInt64, _ whole: [UInt8], headers: Int) throws {
        let layout = try X86MemoryLayout(ramSize: 256 << 20)
        var random = SeededGenerator(seed: seed)
        var accepted = 0
        for _ in 0..<4000 {
            var bytes = whole
            mutate(&bytes, within: headers, using: &random)
            guard let plan = planOrError(bytes, layout: layout) else { continue }
            accepted += 1
            expectInsideRAM(plan, file: bytes, layout: layout)
        }
        #expect(accepted > 0 && accepted < 4000, "mutations that all end the same way test nothing")
    }

    @Test func mutatedBzImage_neverTrapsNorLeavesRAM() throws {
        try hammer(1, SyntheticBzImage().bytes, headers: 0x280)
        var random = SeededGenerator(seed: 2)
        let layout = try X86MemoryLayout(ramSize: 256 << 20)
        for _ in 0..<4000 {
            var bytes = SyntheticBzImage().bytes
            let offset = Int.random(in: 0x1f1..<0x264, using: &random)
            bytes.put(Self.interesting.randomElement(using: &random) ?? 0, at: offset)
            if let plan = planOrError(bytes, layout: layout) { expectInsideRAM(plan, file: bytes, layout: layout) }
        }
    }

    @Test func mutatedELF_neverTrapsNorLeavesRAM() throws {
        try hammer(3, SyntheticELF().bytes, headers: 600)
        try hammer(4, SyntheticELF(entry: 0, pvhEntry: SyntheticELF.entry).bytes, headers: 600)
    }

    @Test func randomBytes_neverTrap() throws {
        let layout = try X86MemoryLayout(ramSize: 64 << 20)
        var random = SeededGenerator(seed: 5)
        for size in 0..<700 {
            let bytes = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
            if let plan = planOrError(bytes, layout: layout) { expectInsideRAM(plan, file: bytes, layout: layout) }
        }
    }
}
