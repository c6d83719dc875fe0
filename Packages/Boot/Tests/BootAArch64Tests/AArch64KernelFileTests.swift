import BootAArch64
import BootCommon
import BootTestSupport
import Testing

@Suite struct AArch64KernelFileTests {
    private func message(_ bytes: [UInt8]) -> String {
        do {
            return "accepted: \(try AArch64KernelFile(recognising: BytesKernelSource(bytes)))"
        } catch {
            return error.description
        }
    }

    private func starting(_ bytes: [UInt8], size: Int = 8192) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: size - bytes.count)
    }

    @Test func image_isRecognised() throws {
        let image = SyntheticAArch64Image(size: 10_000, imageSize: 0x5000)
        let file = try AArch64KernelFile(recognising: BytesKernelSource(image.bytes))
        #expect(file == .image(try AArch64ImageHeader(LittleEndianBytes(image.bytes)), size: 10_000))
        // Linux with an EFI stub starts with "MZ".
        var efi = image
        efi.bytes.put(UInt32(0xfa40_5a4d), at: 0)
        #expect(try AArch64KernelFile(recognising: BytesKernelSource(efi.bytes)) == file)
    }

    @Test func compressedFiles_areRecognised() throws {
        let gzip = SyntheticAArch64Image().bytes.gzipped()
        #expect(
            try AArch64KernelFile(recognising: BytesKernelSource(gzip)) == .compressed(.gzip, offset: 0, size: UInt64(gzip.count)))
        let zstd = SyntheticAArch64Image().bytes.zstandard()
        #expect(
            try AArch64KernelFile(recognising: BytesKernelSource(zstd)) == .compressed(.zstd, offset: 0, size: UInt64(zstd.count)))
    }

    @Test func otherCompressions_areNamed() {
        #expect(message(starting([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])) == "is compressed with xz: decompress it first")
        #expect(message(starting([0x04, 0x22, 0x4d, 0x18])) == "is compressed with lz4: decompress it first")
        #expect(message(starting([0x02, 0x21, 0x4c, 0x18])) == "is compressed with lz4: decompress it first")
        #expect(message(starting([0x42, 0x5a, 0x68, 0x39])) == "is compressed with bzip2: decompress it first")
        #expect(message(starting([0x5d, 0x00, 0x00, 0x80])) == "is compressed with lzma: decompress it first")
        #expect(message(starting([0x89, 0x4c, 0x5a, 0x4f, 0x00])) == "is compressed with lzop: decompress it first")
    }

    @Test func kernelsOfOtherMachines_areNamed() {
        #expect(message(SyntheticBzImage().bytes) == "is a kernel for x86, this machine is aarch64")
        #expect(message(SyntheticELF().bytes) == "is a kernel for x86_64, this machine is aarch64")
        var riscv = starting([])
        riscv.replaceSubrange(56..<60, with: Array("RSC\u{5}".utf8))
        #expect(message(riscv) == "is a kernel for riscv64, this machine is aarch64")
        var arm = starting([])
        arm.put(UInt32(0x016f_2818), at: 0x24)
        #expect(message(arm) == "is a kernel for 32-bit arm, this machine is aarch64")
        for (machine, name): (UInt16, String) in [(0x14c, "x86"), (0x8664, "x86_64"), (0x6264, "loongarch64"), (0x1c2, "32-bit arm")] {
            #expect(message(program(machine)) == "is a kernel for \(name), this machine is aarch64")
        }
    }

    private func program(_ machine: UInt16) -> [UInt8] {
        var pe = starting(Array("MZ".utf8))
        pe.put(UInt32(128), at: 0x3c)
        pe.put(UInt32(0x4550), at: 128)
        pe.put(machine, at: 132)
        return pe
    }

    @Test func elfFiles_areExplained() {
        var elf = SyntheticELF().bytes
        elf.put(UInt16(183), at: 18)
        #expect(message(elf) == "is an ELF file: use the Image that the kernel's build makes of vmlinux")
        elf.put(UInt16(243), at: 18)
        #expect(message(elf) == "is a kernel for riscv64, this machine is aarch64")
        elf.put(UInt16(8), at: 18)
        #expect(message(elf) == "is an ELF file for machine 8, this machine is aarch64 (183)")
        #expect(message(Array(elf[..<19])) == "19 bytes are too short for a kernel")
    }

    @Test func otherFiles_areExplained() {
        #expect(message([]) == "the file is empty")
        #expect(message([1, 2, 3]) == "3 bytes are too short for a kernel")
        #expect(message(starting([], size: 64)) == "is no aarch64 kernel: the magic number of an Image is missing")
        #expect(
            message(program(0xaa64)) == "is an EFI program without a Linux boot header: it needs firmware to start")
        #expect(message(SyntheticAArch64Image(flags: 1).bytes) == "is a big-endian kernel")
        #expect(
            message(SyntheticAArch64Image(imageSize: 5).bytes)
                == "malformed Image: an image size of 5 bytes is less than its header has")
        #expect(message(SyntheticAArch64Image(textOffset: 0x82).bytes) == "malformed Image: text offset 0x82 is not a multiple of 4")
    }

    @Test func truncatedImage_isNoKernel() {
        let bytes = SyntheticAArch64Image().bytes
        for count in 1..<60 { #expect(message(Array(bytes[..<count])) == "\(count) bytes are too short for a kernel") }
        // The magic number alone is there.
        for count in 60..<64 { #expect(message(Array(bytes[..<count])) == "\(count) bytes are too short for a kernel") }
        #expect(message(Array(bytes[..<64])).hasPrefix("accepted"))
    }
}
