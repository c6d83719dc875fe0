import BootCommon
import BootTestSupport
import BootX86
import Testing

@Suite struct KernelImageTests {
    private func message(_ bytes: [UInt8]) -> String {
        do {
            return "accepted: \(try KernelImage(recognising: BytesKernelSource(bytes)))"
        } catch {
            return error.description
        }
    }

    private func starting(_ magic: [UInt8], count: Int = 8192) -> [UInt8] {
        magic + [UInt8](repeating: 0x90, count: count - magic.count)
    }

    @Test func unknownContent_isAFlatBinary() throws {
        #expect(try KernelImage(recognising: BytesKernelSource(starting([0xfa]))) == .flat(size: 8192))
        #expect(try KernelImage(recognising: BytesKernelSource([0xf4, 0xeb, 0xfd, 0x90])) == .flat(size: 4))
    }

    @Test func emptyAndTinyFiles_areRefused() {
        #expect(message([]) == "the file is empty")
        #expect(message([0xf4, 0xeb, 0xfd]) == "3 bytes are too short for a kernel")
    }

    @Test(arguments: [
        ([0x1f, 0x8b, 0x08] as [UInt8], "gzip"), ([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], "xz"),
        ([0x28, 0xb5, 0x2f, 0xfd], "zstd"), ([0x42, 0x5a, 0x68, 0x39], "bzip2"), ([0x04, 0x22, 0x4d, 0x18], "lz4"),
        ([0x02, 0x21, 0x4c, 0x18], "lz4"), ([0x5d, 0, 0, 0x80, 0], "lzma"), ([0x89, 0x4c, 0x5a, 0x4f, 0], "lzop"),
        ([0x4d, 0x5a, 0, 0, 0x7a, 0x69, 0x6d, 0x67], "EFI zboot"),
    ])
    func compressedFile_isNamed(magic: [UInt8], name: String) {
        #expect(message(starting(magic)) == "is compressed with \(name): decompress it first")
    }

    @Test func imagesOfOtherArchitectures_areNamed() {
        var arm = starting([0x4d, 0x5a])
        arm.replaceSubrange(56..<60, with: [0x41, 0x52, 0x4d, 0x64])
        #expect(message(arm) == "is a kernel for aarch64, this machine is x86_64")
        var riscv = starting([0x4d, 0x5a])
        riscv.replaceSubrange(56..<60, with: [0x52, 0x53, 0x43, 0x05])
        #expect(message(riscv) == "is a kernel for riscv64, this machine is x86_64")
        var elf = SyntheticELF().bytes
        elf.put(UInt16(183), at: 18)
        #expect(message(elf) == "is a kernel for aarch64, this machine is x86_64")
    }

    @Test func efiProgramAndDiskImage_areRefused() {
        #expect(
            message(starting([0x4d, 0x5a]))
                == "is an EFI program without a Linux boot header: it needs firmware to start")
        var disk = starting([0xfa])
        disk.put(UInt16(0xaa55), at: 0x1fe)
        #expect(message(disk) == "is a boot sector or disk image without a Linux boot header")
    }

    @Test func truncatedBzImage_neverPassesForAFlatBinary() {
        let whole = SyntheticBzImage().bytes
        for size in 4..<0x206 {
            #expect(
                message(Array(whole.prefix(size)))
                    == "truncated bzImage: it needs at least 520 bytes, the file has \(size)")
        }
        var withStub = whole
        withStub.replaceSubrange(0..<4, with: [0x4d, 0x5a, 0xea, 0x07])
        var legacy = whole
        legacy.replaceSubrange(0..<5, with: [0xea, 0x05, 0x00, 0xc0, 0x07])
        for size in [5, 64, 0x1fe, 0x200, 0x205] {
            #expect(message(Array(withStub.prefix(size))).hasPrefix("truncated bzImage"), "\(size)")
            #expect(message(Array(legacy.prefix(size))).hasPrefix("truncated bzImage"), "\(size)")
        }
    }

    @Test func truncatedELF_neverPassesForAFlatBinary() {
        let whole = SyntheticELF().bytes
        for size in 4..<64 {
            #expect(
                message(Array(whole.prefix(size)))
                    == "truncated ELF kernel: it needs at least 64 bytes, the file has \(size)")
        }
        for size in 64..<whole.count {
            #expect(message(Array(whole.prefix(size))).hasPrefix("truncated ELF kernel: it needs"), "\(size)")
        }
    }
}
