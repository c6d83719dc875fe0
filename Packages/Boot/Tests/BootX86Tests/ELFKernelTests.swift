import BootCommon
import BootTestSupport
import BootX86
import Testing

@Suite struct ELFKernelTests {
    private func parse(_ elf: SyntheticELF) throws -> ELFKernel {
        guard case .elf(let kernel) = try KernelImage(recognising: BytesKernelSource(elf.bytes)) else {
            throw KernelImageError.empty
        }
        return kernel
    }

    private func message(_ change: (inout SyntheticELF) -> Void) -> String {
        var elf = SyntheticELF()
        change(&elf)
        do {
            return "accepted: \(try KernelImage(recognising: BytesKernelSource(elf.bytes)))"
        } catch {
            return error.description
        }
    }

    @Test func segments_areTakenWithTheirPhysicalAddresses() throws {
        let kernel = try parse(SyntheticELF())
        #expect(kernel.segments.map(\.range.start) == [0x100_0000, 0x120_0000])
        #expect(kernel.segments.map(\.range.count) == [1024, 0x4000])
        #expect(kernel.segments.map(\.fileSize) == [1024, 1024])
        #expect(kernel.segments.map(\.fileOffset) == [1024, 2048])
        #expect(kernel.entry == .long(0x100_0000))
    }

    @Test func vmlinuxWithBothEntries_startsIn64BitMode() throws {
        #expect(try parse(SyntheticELF(pvhEntry: 0x100_0100)).entry == .long(0x100_0000))
    }

    @Test(arguments: [4, 8])
    func pvhNote_isTheEntry_whenTheNativeOneIsVirtualOrTheSame(size: Int) throws {
        let virtual = SyntheticELF(entry: 0xffff_ffff_8100_0000, pvhEntry: 0x100_0100, noteSize: size)
        #expect(try parse(virtual).entry == .pvh(0x100_0100))
        let same = SyntheticELF(entry: 0x100_0100, pvhEntry: 0x100_0100, noteSize: size)
        #expect(try parse(same).entry == .pvh(0x100_0100))
    }

    @Test func entryOutsideEverySegment_isRefused() {
        #expect(
            message { $0 = SyntheticELF(entry: 0x100_0400) }
                == "malformed ELF kernel: entry 0x1000400 lies in no loaded segment")
        #expect(
            message { $0 = SyntheticELF(entry: 0, pvhEntry: 0x50_0000) }
                == "malformed ELF kernel: entry 0x500000 lies in no loaded segment")
    }

    @Test func foreignHeaders_areNamed() {
        #expect(message { $0.bytes[4] = 1 } == "is a 32-bit ELF file: only 64-bit kernels boot")
        #expect(message { $0.bytes[5] = 2 } == "is a big-endian ELF file")
        #expect(message { $0.bytes.put(UInt16(1), at: 16) } == "is an ELF file of type 1, not an executable")
        #expect(
            message { $0.bytes.put(UInt16(22), at: 18) }
                == "is an ELF file for machine 22, this machine is x86_64 (62)")
        #expect(message { $0.bytes.put(UInt32(2), at: 20) } == "malformed ELF kernel: version 2 is unknown")
    }

    @Test func programHeaderTable_outOfBounds_isRefused() {
        #expect(
            message { $0.bytes.put(UInt16(32), at: 54) } == "malformed ELF kernel: program headers of 32 bytes instead of 56")
        for count: UInt16 in [0, 65, 0xffff] {
            #expect(
                message { $0.bytes.put(count, at: 56) }
                    == "malformed ELF kernel: \(count) program headers, 1 to 64 are accepted")
        }
        #expect(
            message { $0.bytes.put(UInt64(2905), at: 32) }
                == "truncated ELF kernel: it needs at least 3073 bytes, the file has 3072")
        #expect(
            message { $0.bytes.put(UInt64.max - 8, at: 32) }
                == "truncated ELF kernel: it needs at least \(UInt64.max) bytes, the file has 3072")
    }

    @Test func programHeaderTable_farBehindTheHead_isRead() throws {
        var elf = SyntheticELF()
        elf.bytes += [UInt8](repeating: 0, count: 100_000)
        let offset = elf.bytes.count
        elf.bytes += elf.bytes[64..<64 + 3 * 56]
        elf.bytes.put(UInt64(offset), at: 32)
        elf.bytes.replaceSubrange(64..<232, with: [UInt8](repeating: 0xee, count: 168))
        #expect(try parse(elf).segments.count == 2)
    }

    @Test func segmentArithmetic_neverWraps() {
        #expect(
            message { $0.bytes.put(UInt64.max, at: 64 + 32) }
                == "malformed ELF kernel: segment 0 is larger in the file than in memory")
        #expect(
            message { $0.bytes.put(UInt64.max, at: 64 + 24) } == "malformed ELF kernel: segment 0 exceeds 64 bits")
        #expect(
            message { $0.bytes.put(UInt64.max - 16, at: 64 + 8) } == "malformed ELF kernel: segment 0 exceeds 64 bits")
        #expect(
            message { $0.bytes.put(UInt64(4096), at: 64 + 8) }
                == "truncated ELF kernel: it needs at least 5120 bytes, the file has 3072")
    }

    @Test func overlappingOrMissingSegments_areRefused() {
        #expect(
            message { $0.bytes.put(UInt64(0x100_03ff), at: 120 + 24) }
                == "malformed ELF kernel: segments 0 and 1 overlap in memory")
        #expect(
            message {
                $0.bytes.put(UInt32(6), at: 64)
                $0.bytes.put(UInt32(6), at: 120)
            } == "malformed ELF kernel: no segment to load")
    }

    @Test func hugeNoteSegment_isNotAllocated() {
        #expect(
            message { $0.bytes.put(UInt64(1) << 40, at: 176 + 32) }
                == "malformed ELF kernel: a note segment of 1099511627776 bytes")
    }

    @Test func malformedNotes_endTheWalk() throws {
        var elf = SyntheticELF(pvhEntry: 0x100_0100)
        elf.bytes.put(UInt32.max, at: SyntheticELF.notes)
        elf.bytes.put(UInt32.max, at: SyntheticELF.notes + 4)
        #expect(try parse(elf).entry == .long(0x100_0000))
    }
}
