import BootAArch64
import BootCommon
import BootTestSupport
import Testing

@Suite struct AArch64ImageHeaderTests {
    private func header(_ image: SyntheticAArch64Image) throws -> AArch64ImageHeader {
        try AArch64ImageHeader(LittleEndianBytes(image.bytes))
    }

    @Test func fields_areRead() throws {
        let header = try header(SyntheticAArch64Image(textOffset: 0x8_0000, imageSize: 0x123_4000, flags: 0b1110))
        #expect(header.textOffset == 0x8_0000)
        #expect(header.imageSize == 0x123_4000)
        #expect(header.pageSize == 65536)
    }
}
