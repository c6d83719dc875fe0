import BootCommon
import BootTestSupport
import BootX86
import Testing

@Suite struct BzImageTests {
    private func parse(_ bytes: [UInt8]) throws -> BzImage {
        guard case .bzImage(let image) = try KernelImage(recognising: BytesKernelSource(bytes)) else {
            throw KernelImageError.empty
        }
        return image
    }

    private func message(_ change: (inout [UInt8]) -> Void) -> String {
        var bytes = SyntheticBzImage().bytes
        change(&bytes)
        do {
            return "accepted: \(try KernelImage(recognising: BytesKernelSource(bytes)))"
        } catch {
            return error.description
        }
    }

    @Test func header_givesPayloadEntryAndLimits() throws {
        let bytes = SyntheticBzImage().bytes
        let image = try parse(bytes)
        #expect(image.version == 0x020f)
        #expect(image.payloadOffset == 1024 && image.payloadSize == 4096)
        #expect(image.entry == 0x100_0200)
        #expect(image.commandLineLimit == 2047 && image.initrdAddressMaximum == 0x7fff_ffff)
        var header = bytes
        header.put(UInt32(0x100_0000), at: 0x214)
        #expect(image.setupHeader == Array(header[0x1f1..<SyntheticBzImage.headerEnd]))
        #expect(image.range == GuestRange(start: 0x100_0000, end: 0x110_0000))
    }

    /// Where it would run anyway; else where its header says.
    @Test func relocatableKernel_isLoadedAtItsPreferredAddress() throws {
        func load(_ change: (inout [UInt8]) -> Void) throws -> UInt64 {
            var bytes = SyntheticBzImage().bytes
            change(&bytes)
            let image = try parse(bytes)
            #expect(image.setupHeader[(0x214 - 0x1f1)...].prefix(4).reversed().reduce(0) { $0 << 8 | UInt64($1) } == image.range.start)
            return image.range.start
        }
        #expect(try load { $0.put(UInt64(0x240_0000), at: 0x258) } == 0x240_0000)
        #expect(try load { $0[0x234] = 0 } == 0x10_0000, "fixed")
        #expect(try load { $0.put(UInt16(0x0209), at: 0x206) } == 0x10_0000, "no preference before 2.10")
        #expect(try load { $0.put(UInt64(0x100_1000), at: 0x258) } == 0x10_0000, "not aligned: it would move itself")
        #expect(try load { $0.put(UInt64(0x1_0000_0000), at: 0x258) } == 0x10_0000, "above 4 GiB")
        #expect(try load { $0.put(UInt32(0x180_0000), at: 0x214) } == 0x180_0000, "loads above its preferred address")
    }

    @Test func decompressionRange_followsAlignmentAndPreference() throws {
        var bytes = SyntheticBzImage().bytes
        bytes.put(UInt64(0x10_0000), at: 0x258)
        #expect(try parse(bytes).range.end == 0x20_0000 + 0x10_0000, "relocatable: aligned load address")
        bytes[0x234] = 0
        #expect(try parse(bytes).range.end == 0x10_0000 + 0x10_0000, "fixed: preferred address")
        bytes.put(UInt32(0), at: 0x260)
        #expect(try parse(bytes).range.end == 0x10_0000 + 4096, "the payload itself is the least")
    }

    @Test func setupSectorsZero_meansFour() throws {
        var bytes = SyntheticBzImage(payloadSize: 8192).bytes
        bytes[0x1f1] = 0
        bytes.put(UInt32(16), at: 0x1f4)
        #expect(try parse(bytes).payloadOffset == 5 * 512)
    }

    @Test func oldProtocols_useTheirDefaults() throws {
        var bytes = SyntheticBzImage(version: 0x0202).bytes
        bytes.put(UInt16(0), at: 0x236)
        bytes.put(UInt16(0xdead), at: 0x1f6)
        bytes[0x201] = UInt8(0x22c - 0x202)
        let image = try parse(bytes)
        #expect(image.commandLineLimit == 255)
        #expect(image.initrdAddressMaximum == 0x37ff_ffff)
        #expect(image.range.end == 0x10_0000 + 4096)
        #expect(image.setupHeader.count == 0x22c - 0x1f1)
    }

    @Test func setupHeader_ofTheFullLengthByte_isKept() throws {
        var bytes = SyntheticBzImage().bytes
        bytes[0x201] = 0xff
        #expect(try parse(bytes).setupHeader.count == 0x301 - 0x1f1)
    }

    @Test func malformedHeaders_areNamed() {
        #expect(message { $0.put(UInt16(0), at: 0x1fe) } == "malformed bzImage: the boot flag 0xaa55 is missing")
        #expect(
            message { $0.put(UInt16(0x0201), at: 0x206) }
                == "boot protocol 2.01 is too old: 2.02 is the oldest that works")
        #expect(message { $0[0x211] = 0x80 } == "is a zImage, which loads below 1 MiB: use a bzImage")
        #expect(message { $0.put(UInt16(2), at: 0x236) } == "is a 32-bit bzImage: it has no 64-bit entry point")
        #expect(
            message { $0[0x201] = 0x61 }
                == "malformed bzImage: the setup header ends at 0x263, too early for protocol 2.15")
        #expect(
            message { $0.put(UInt32(0x30_0000), at: 0x230) }
                == "malformed bzImage: kernel alignment 0x300000 is not a power of two")
        #expect(
            message { $0.put(UInt64.max, at: 0x258) } == "malformed bzImage: its memory range exceeds 64 bits")
    }

    @Test func payloadLargerThanTheFile_isTruncated() {
        #expect(
            message { $0.put(UInt32(257), at: 0x1f4) }
                == "truncated bzImage: it needs at least 5136 bytes, the file has 5120")
        #expect(
            message { $0.put(UInt32.max, at: 0x1f4) }
                == "truncated bzImage: it needs at least 68719477744 bytes, the file has 5120")
        #expect(
            message { $0[0x1f1] = 0xff }
                == "truncated bzImage: it needs at least 135168 bytes, the file has 5120")
        #expect(
            message { $0.removeLast() } == "truncated bzImage: it needs at least 5120 bytes, the file has 5119")
    }

    @Test func fileCutAnywhere_isTruncated() {
        for size in 0x206..<5120 {
            #expect(
                message { $0.removeLast($0.count - size) }.hasPrefix("truncated bzImage: it needs at least"), "\(size)")
        }
    }
}
