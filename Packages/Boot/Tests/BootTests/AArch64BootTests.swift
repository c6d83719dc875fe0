import AddressSpace
import Boot
import BootCommon
import BootTestSupport
import Foundation
import Testing

@Suite struct AArch64BootTests {
    /// A directory of the test's own and RAM at 1 GiB that nobody has written to.
    private final class Fixture {
        static let ramBase: UInt64 = 1 << 30
        let directory: URL
        let space = AddressSpace(name: "memory", size: 1 << 40)
        let ram: UInt64

        /// - Parameter second: size of another piece of RAM, right behind the first in the guest and nowhere near it on the host.
        init(ram first: UInt64 = 64 << 20, second: UInt64 = 0) throws {
            ram = first + second
            directory = FileManager.default.temporaryDirectory.appendingPathComponent("boot-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let memory = try HostMemory.anonymous(size: first + (64 << 10))
            try space.root.add(
                try Region.ram(name: "ram", size: first, memory: memory, memoryOffset: 0), at: Self.ramBase)
            guard second > 0 else { return }
            try space.root.add(
                try Region.ram(name: "ram2", size: second, memory: try HostMemory.anonymous(size: second), memoryOffset: 0),
                at: Self.ramBase + first)
        }

        deinit { try? FileManager.default.removeItem(at: directory) }

        func file(_ name: String, _ bytes: [UInt8]) throws -> String {
            let url = directory.appendingPathComponent(name)
            try Data(bytes).write(to: url)
            return url.path
        }

        func load(_ kernel: String, initrd: String? = nil) throws(BootError) -> AArch64BootResult {
            try AArch64Boot.load(
                AArch64BootConfiguration(kernelPath: kernel, initrdPath: initrd, ramBase: Self.ramBase, ramSize: ram),
                into: space.memory)
        }

        func message(_ kernel: String, initrd: String? = nil) -> String {
            do {
                return "accepted: \(try load(kernel, initrd: initrd))"
            } catch {
                return error.description
            }
        }

        func read(_ address: UInt64, _ count: Int) throws -> [UInt8] {
            try space.memory.bytes(at: address, count: UInt64(count), limit: .max)
        }

        func bytes(at address: UInt64, count: Int) throws -> [UInt8] {
            try space.memory.bytes(at: address, count: UInt64(count))
        }
    }

    @Test func imageAndInitrd_landInGuestMemory() throws {
        let fixture = try Fixture()
        let kernel = SyntheticAArch64Image().bytes
        let initrd = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let result = try fixture.load(try fixture.file("Image", kernel), initrd: try fixture.file("initrd", initrd))
        #expect(result.entry == 0x4020_0000)
        #expect(result.initrd == GuestRange(start: 0x43ff_e000, count: 5000))
        #expect(result.deviceTree == GuestRange(start: 0x4000_0000, count: 2 << 20))
        #expect(try fixture.bytes(at: 0x4020_0000, count: 4097) == kernel + [0])
        #expect(try fixture.bytes(at: 0x43ff_e000, count: 5000) == initrd)
        #expect(try fixture.bytes(at: 0x4000_0000, count: 0x1_0000).allSatisfy { $0 == 0 })
    }

    private static let kernelAddress: UInt64 = 0x4020_0000

    private static let kernel = SyntheticAArch64Image(size: 300_000).bytes

    /// All that `kernel` can be packed into.
    private static let packings: [(String, [UInt8])] = [
        ("Image.gz", kernel.gzipped()), ("Image.zst", kernel.zstandard()), ("Image.zst", kernel.zstandard(tellsSize: true)),
        ("vmlinuz.efi", SyntheticZboot(payload: kernel.gzipped(), type: "gzip", tail: []).bytes),
        ("vmlinuz.efi", SyntheticZboot(payload: kernel.zstandard(windowLog: 27), type: "zstd22").bytes),
        ("vmlinuz.efi", SyntheticZboot(payload: kernel.zstandard(), type: "zstd", tail: Array("certificate".utf8)).bytes),
    ]

    @Test(arguments: packings.indices) func compressedKernel_landsAsIfItWereNot(_ index: Int) throws {
        let (name, packed) = Self.packings[index]
        let fixture = try Fixture()
        let initrd = [UInt8](repeating: 7, count: 100)
        let result = try fixture.load(try fixture.file(name, packed), initrd: try fixture.file("initrd", initrd))
        #expect(result.entry == Self.kernelAddress)
        #expect(result.initrd == GuestRange(start: 0x43ff_f000, count: 100))
        #expect(try fixture.read(Self.kernelAddress, Self.kernel.count) == Self.kernel)
        #expect(try fixture.bytes(at: 0x43ff_f000, count: 100) == initrd)
        #expect(try fixture.read(0x4000_0000, 2 << 20).allSatisfy { $0 == 0 })
    }

    @Test func textOffsetOfCompressedKernel_isHeeded() throws {
        let image = SyntheticAArch64Image(size: 300_000, textOffset: 0x8_0000).bytes
        for packed in [image.gzipped(), image.zstandard()] {
            let fixture = try Fixture()
            #expect(try fixture.load(try fixture.file("Image.gz", packed)).entry == 0x4028_0000)
            #expect(try fixture.read(0x4028_0000, image.count) == image)
        }
    }

    @Test func compressedKernel_isPlannedForBeforeItIsWritten() throws {
        let fixture = try Fixture()
        let bss = SyntheticAArch64Image(imageSize: 63 << 20).bytes.zstandard()
        let path = try fixture.file("bss", bss)
        #expect(fixture.message(path) == "kernel '\(path)': needs memory 0x40200000..0x44100000, but RAM ends at 0x44000000")
        let initrd = try fixture.file("initrd", [UInt8](repeating: 1, count: 1 << 20))
        let old = try fixture.file("old", SyntheticAArch64Image(imageSize: 61 << 20 + 1).bytes.gzipped())
        #expect(
            fixture.message(old, initrd: initrd)
                == "initrd '\(initrd)': 1048576 bytes do not fit between the kernel at 0x40200000..0x43f00001 and 0x44000000: "
                + "give the machine more memory")
    }

    @Test func kernelOfUnknownSize_staysBelowTheInitrd() throws {
        // imageSize 0: only decompression tells. 3 MiB fit, 4 MiB do not.
        let fixture = try Fixture(ram: 8 << 20)
        let initrd = try fixture.file("initrd", [UInt8](repeating: 0xee, count: 2 << 20))
        for (size, fits) in [(3 << 20, true), (4 << 20, false)] {
            let image = SyntheticAArch64Image(size: size, imageSize: 0, flags: 2).bytes
            for packed in [image.gzipped(), image.zstandard(), image.zstandard(tellsSize: true)] {
                let path = try fixture.file("Image", packed)
                let message = fixture.message(path, initrd: initrd)
                if fits {
                    #expect(message.hasPrefix("accepted"))
                    #expect(try fixture.read(0x4060_0000, 2 << 20).allSatisfy { $0 == 0xee })
                    #expect(try fixture.read(0x4028_0000, size) == image)
                } else {
                    #expect(message == "kernel '\(path)': decompressed, it does not fit into memory 0x40280000..0x40600000")
                }
            }
        }
    }

    @Test func bombs_fillNoMoreThanTheirRoom() throws {
        let fixture = try Fixture()
        try fixture.space.memory.fill(at: 0x4000_0000, count: 2 << 20, byte: 0xcc)
        // 1 GiB of zeros behind a header that says 1 MiB, in two frames.
        let bomb = SyntheticAArch64Image(size: 8192).bytes.zstandard() + zstandardBomb(blocks: 8192)
        let path = try fixture.file("bomb", bomb)
        #expect(fixture.message(path) == "kernel '\(path)': decompressed, it does not fit into memory 0x40200000..0x44000000")
        let headless = try fixture.file("headless", zstandardBomb(blocks: 8192))
        #expect(
            fixture.message(headless) == "kernel '\(headless)': decompressed, it does not fit into memory 0x40200000..0x44000000")
        let gzip = try fixture.file("gzip", (SyntheticAArch64Image().bytes + [UInt8](repeating: 0, count: 80 << 20)).gzipped())
        #expect(fixture.message(gzip) == "kernel '\(gzip)': decompressed, it does not fit into memory 0x40200000..0x44000000")
        #expect(try fixture.read(0x4000_0000, 2 << 20).allSatisfy { $0 == 0xcc })
    }

    @Test func whatIsNoKernelInside_isExplained() throws {
        let fixture = try Fixture()
        func message(_ content: [UInt8]) throws -> [String] {
            try [content.gzipped(), content.zstandard()].map { packed in
                let path = try fixture.file("kernel", packed)
                return fixture.message(path).replacingOccurrences(of: path, with: "")
            }
        }
        let cases: [([UInt8], String)] = [
            ([], "the file is empty"), ([1, 2, 3], "3 bytes are too short for a kernel"),
            ([UInt8](repeating: 9, count: 5000), "is no aarch64 kernel: the magic number of an Image is missing"),
            (SyntheticBzImage().bytes, "is a kernel for x86, this machine is aarch64"),
            (SyntheticELF().bytes, "is a kernel for x86_64, this machine is aarch64"),
            (SyntheticAArch64Image(flags: 1).bytes, "is a big-endian kernel"),
            (SyntheticAArch64Image().bytes.gzipped(), "is compressed with gzip: decompress it first"),
            (
                SyntheticZboot(payload: Self.kernel.zstandard(), type: "zstd").bytes,
                "is compressed with zstd: decompress it first"
            ),
        ]
        for (content, text) in cases { #expect(try message(content) == Array(repeating: "kernel '': decompressed: \(text)", count: 2)) }
    }

    @Test func truncatedCompressedKernel_isAnError() throws {
        let fixture = try Fixture()
        for (name, packed) in [("gzip", Self.kernel.gzipped()), ("zstd", Self.kernel.zstandard())] {
            for length in [5, 40, packed.count / 2, packed.count - 1] {
                let path = try fixture.file(name, Array(packed[..<length]))
                #expect(fixture.message(path) == "kernel '\(path)': its \(name) data end too early")
            }
        }
        let zboot = SyntheticZboot(payload: Self.kernel.zstandard(), type: "zstd", tail: []).bytes
        let path = try fixture.file("zboot", Array(zboot[..<(zboot.count - 1)]))
        #expect(
            fixture.message(path)
                == "kernel '\(path)': truncated EFI zboot image: it needs at least \(zboot.count) bytes, the file has \(zboot.count - 1)")
    }

    @Test func memoryInPieces_takesACompressedKernelInTheFirst() throws {
        // Two nodes: a plain Image may lie in both, what is decompressed is its own window and does not.
        let fixture = try Fixture(ram: 4 << 20, second: 4 << 20)
        let image = SyntheticAArch64Image(size: 3 << 20).bytes
        #expect(try fixture.load(try fixture.file("Image", image)).entry == Self.kernelAddress)
        #expect(try fixture.read(Self.kernelAddress, image.count) == image)
        let packed = try fixture.file("Image.zst", image.zstandard())
        #expect(fixture.message(packed) == "kernel '\(packed)': decompressed, it does not fit into memory 0x40200000..0x40400000")
        let small = SyntheticAArch64Image(size: 1 << 20).bytes
        #expect(try fixture.load(try fixture.file("small", small.zstandard())).entry == Self.kernelAddress)
        #expect(try fixture.read(Self.kernelAddress, small.count) == small)
    }

    @Test func missingOrOddFiles_areNamedWithTheirPath() throws {
        let fixture = try Fixture()
        let kernel = try fixture.file("kernel", Self.kernel)
        #expect(fixture.message("/nonexistent") == "kernel '/nonexistent': No such file or directory")
        #expect(fixture.message(kernel, initrd: "/nonexistent") == "initrd '/nonexistent': No such file or directory")
        #expect(fixture.message("/dev/null") == "kernel '/dev/null': not a regular file")
        let empty = try fixture.file("empty", [])
        #expect(fixture.message(empty) == "kernel '\(empty)': the file is empty")
        #expect(fixture.message(kernel, initrd: empty) == "initrd '\(empty)': the file is empty")
        let foreign = try fixture.file("bzImage", SyntheticBzImage().bytes)
        #expect(fixture.message(foreign) == "kernel '\(foreign)': is a kernel for x86, this machine is aarch64")
    }

    @Test func memoryThatContradictsTheConfiguration_isAnError() throws {
        let fixture = try Fixture()
        for bytes in [Self.kernel, Self.kernel.gzipped(), Self.kernel.zstandard()] {
            let kernel = try fixture.file("kernel", bytes)
            #expect(throws: BootError.memory(address: 0x8020_0000, .notRAM(address: 0x8020_0000))) {
                try AArch64Boot.load(
                    AArch64BootConfiguration(kernelPath: kernel, ramBase: 0x8000_0000, ramSize: 64 << 20), into: fixture.space.memory)
            }
            let tiny = AArch64BootConfiguration(kernelPath: kernel, ramBase: 0x4000_0000, ramSize: 2 << 20)
            #expect {
                try AArch64Boot.load(tiny, into: fixture.space.memory)
            } throws: { ($0 as? BootError)?.description == "no kernel boots in 2097152 bytes of memory at 0x40000000" }
        }
    }
}
