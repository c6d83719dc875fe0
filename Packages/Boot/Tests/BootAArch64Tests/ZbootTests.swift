import BootAArch64
import BootCommon
import BootTestSupport
import Testing

@Suite struct ZbootTests {
    private static let payload: [UInt8] = [1, 2, 3, 4, 5]

    private func recognise(_ bytes: [UInt8]) throws(AArch64ImageError) -> AArch64KernelFile {
        try AArch64KernelFile(recognising: BytesKernelSource(bytes))
    }

    private func zboot(_ type: String = "gzip", _ change: (inout [UInt8]) -> Void = { _ in }) -> [UInt8] {
        var bytes = SyntheticZboot(payload: Self.payload, type: type).bytes
        change(&bytes)
        return bytes
    }

    @Test func payload_isFound() throws {
        #expect(try recognise(zboot("gzip")) == .compressed(.gzip, offset: 4096, size: 5))
        #expect(try recognise(zboot("zstd")) == .compressed(.zstd, offset: 4096, size: 5))
        #expect(try recognise(zboot("zstd22")) == .compressed(.zstd, offset: 4096, size: 5))
        // Right behind the header, to the last byte of the file.
        let tight = zboot { $0.put(UInt32(64), at: 8); $0.put(UInt32($0.count - 64), at: 12) }
        #expect(try recognise(tight) == .compressed(.gzip, offset: 64, size: UInt64(tight.count - 64)))
    }

    @Test(arguments: [("xzkern", "xz"), ("lzma", "lzma"), ("lzo", "lzo"), ("lz4", "lz4"), ("gzip2", "gzip2"), ("GZIP", "GZIP")])
    func otherCompressions_areRefusedByName(_ type: String, _ name: String) {
        #expect(throws: AArch64ImageError.zbootCompression(name)) { try recognise(zboot(type)) }
        #expect(
            AArch64ImageError.zbootCompression(name).description
                == "is an EFI zboot image compressed with \(name): gzip and zstd are the ones that can be booted")
    }

    @Test func compressionWithoutAName_isRefused() {
        let types: [[UInt8]] = [
            [], [0x1b, 0x5b, 0x32, 0x4a], Array("gz ip".utf8), [0xff, 0xfe], Array("gzip\n".utf8),
            [UInt8](repeating: 0x61, count: 32),
        ]
        for type in types {
            let bytes = zboot("") { $0.replaceSubrange(24..<24 + type.count, with: type) }
            #expect(throws: AArch64ImageError.zbootCompressionType, "\(type)") { try recognise(bytes) }
        }
    }

    @Test func payloadInsideTheHeader_isRefused() {
        for offset: UInt32 in [0, 1, 63] {
            #expect(throws: AArch64ImageError.zbootPayloadOffset(offset)) {
                try recognise(zboot { $0.put(offset, at: 8) })
            }
        }
    }

    @Test func payloadOutsideTheFile_isRefused() {
        let size = UInt64(zboot().count)
        let cases: [(offset: UInt32, count: UInt32)] = [
            (4096, UInt32(size) - 4096 + 1), (UInt32(size), 1), (.max, .max), (64, .max), (.max, 1), (0x8000_0000, 0x8000_0000),
        ]
        for (offset, count) in cases {
            let bytes = zboot { $0.put(offset, at: 8); $0.put(count, at: 12) }
            #expect(throws: AArch64ImageError.truncatedZboot(needed: UInt64(offset) + UInt64(count), size: size)) {
                try recognise(bytes)
            }
        }
    }

    @Test func emptyPayload_isRefused() {
        #expect(throws: AArch64ImageError.zbootPayloadEmpty) { try recognise(zboot { $0.put(UInt32(0), at: 12) }) }
    }

    @Test func truncation_isSeenAtEveryByteOfTheHeader() {
        let bytes = zboot()
        for count in 8..<64 {
            #expect(throws: AArch64ImageError.truncatedZboot(needed: 64, size: UInt64(count))) {
                try recognise(Array(bytes[..<count]))
            }
        }
        for count in 64..<4101 where count % 101 == 64 % 101 || count > 4090 {
            #expect(throws: AArch64ImageError.truncatedZboot(needed: 4101, size: UInt64(count))) {
                try recognise(Array(bytes[..<count]))
            }
        }
        #expect(throws: Never.self) { try recognise(Array(bytes[..<4101])) }
    }

    @Test(arguments: [(0x5064, "riscv64"), (0x6264, "loongarch64"), (0x8664, "x86_64")] as [(UInt16, String)])
    func foreignMachine_isNamed(_ machine: UInt16, _ name: String) {
        let bytes = SyntheticZboot(payload: Self.payload, type: "lzma", machine: machine).bytes
        #expect(throws: AArch64ImageError.foreignArchitecture(name)) { try recognise(bytes) }
    }

    @Test func peHeader_isNotNeeded() {
        for offset: UInt32 in [0, 4090, 4095, .max, 0x7fff_ffff] {
            #expect(throws: Never.self) { try recognise(zboot { $0.put(offset, at: 60) }) }
        }
    }
}
