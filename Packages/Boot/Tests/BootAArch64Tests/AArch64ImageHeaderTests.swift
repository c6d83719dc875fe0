import BootAArch64
import BootCommon
import BootTestSupport
import Testing

@Suite struct AArch64ImageHeaderTests {
    private func header(_ image: SyntheticAArch64Image) throws(AArch64ImageError) -> AArch64ImageHeader {
        try AArch64ImageHeader(LittleEndianBytes(image.bytes))
    }

    @Test func fields_areRead() throws {
        let header = try header(SyntheticAArch64Image(textOffset: 0x8_0000, imageSize: 0x123_4000, flags: 0b1110))
        #expect(header.textOffset == 0x8_0000)
        #expect(header.imageSize == 0x123_4000)
        #expect(header.pageSize == 64 << 10)
    }

    @Test(arguments: [(0, nil), (1, 4 << 10), (2, 16 << 10), (3, 64 << 10)] as [(UInt64, UInt64?)])
    func pageSizes(_ bits: UInt64, _ size: UInt64?) throws {
        #expect(try header(SyntheticAArch64Image(flags: bits << 1)).pageSize == size)
    }

    @Test func placementAndReservedFields_changeNothing() throws {
        let plain = try header(SyntheticAArch64Image(flags: 2))
        #expect(try header(SyntheticAArch64Image(flags: 0xa)) == plain)
        #expect(try header(SyntheticAArch64Image(flags: 0xffff_ffff_ffff_fff2)) == plain)
        var image = SyntheticAArch64Image(flags: 2)
        for offset in [32, 40, 48] { image.bytes.put(UInt64.max, at: offset) }
        image.bytes.put(UInt32.max, at: 60)
        image.bytes.put(UInt64(0xfa40_5a4d), at: 0)
        #expect(try header(image) == plain)
    }

    @Test func oldKernel_hasItsTextOffsetByCustom() throws {
        for field: UInt64 in [0, 0x8_0000, 0x1234, 0x3] {
            let header = try header(SyntheticAArch64Image(textOffset: field, imageSize: 0, flags: 0))
            #expect(header.textOffset == 0x8_0000)
            #expect(header.imageSize == nil)
        }
    }

    @Test func bigEndian_isRefused() {
        #expect(throws: AArch64ImageError.bigEndian) { try header(SyntheticAArch64Image(flags: 1)) }
        #expect(throws: AArch64ImageError.bigEndian) { try header(SyntheticAArch64Image(imageSize: 0, flags: 1)) }
        // Before there were flags.
        let textOffset = UInt64(0x8_0000).byteSwapped
        #expect(throws: AArch64ImageError.bigEndian) {
            try header(SyntheticAArch64Image(textOffset: textOffset, imageSize: 0, flags: 0))
        }
        #expect(throws: Never.self) { try header(SyntheticAArch64Image(textOffset: textOffset, flags: 0)) }
    }

    @Test func imageSizeOfLessThanTheHeader_isRefused() {
        for size: UInt64 in [1, 63] {
            #expect(throws: AArch64ImageError.imageSize(size)) { try header(SyntheticAArch64Image(imageSize: size)) }
        }
        #expect(throws: Never.self) { try header(SyntheticAArch64Image(imageSize: 64)) }
        #expect(throws: Never.self) { try header(SyntheticAArch64Image(imageSize: .max)) }
    }

    @Test func textOffsetBetweenInstructions_isRefused() {
        for offset: UInt64 in [1, 2, 3, 0x8_0001, .max] {
            #expect(throws: AArch64ImageError.textOffset(offset)) { try header(SyntheticAArch64Image(textOffset: offset)) }
        }
        #expect(throws: Never.self) { try header(SyntheticAArch64Image(textOffset: 4)) }
    }

    @Test func shortOrForeignBytes_areRefused() {
        let bytes = SyntheticAArch64Image().bytes
        for count in 0..<64 {
            #expect(throws: AArch64ImageError.tooShort(UInt64(count))) {
                try AArch64ImageHeader(LittleEndianBytes(Array(bytes[..<count])))
            }
        }
        for offset in 56..<60 {
            var damaged = bytes
            damaged[offset] ^= 1
            #expect(throws: AArch64ImageError.notAKernel) { try AArch64ImageHeader(LittleEndianBytes(damaged)) }
        }
    }
}
