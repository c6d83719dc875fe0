import LinuxSys
import Testing

@Suite struct MACAddressTests {
    @Test func text_isReadAndWritten() throws {
        let address = try #require(MACAddress("52:54:00:12:aB:Ff"))
        #expect(address == MACAddress(0x52, 0x54, 0, 0x12, 0xab, 0xff))
        #expect(address.bits == 0x5254_0012_abff)
        #expect(address.description == "52:54:00:12:ab:ff")
        #expect((0..<6).map { address[$0] } == [0x52, 0x54, 0, 0x12, 0xab, 0xff])
    }

    @Test(arguments: [
        "", "52:54:00:12:34", "52:54:00:12:34:5", "52:54:00:12:34:567", "52-54-00-12-34-56", "5g:54:00:12:34:56", "+2:54:00:12:34:56",
        "52:54:00:12:34:56:", ":52:54:00:12:34:5", "525:4:00:12:34:56", "٥2:54:00:12:34:5",
    ])
    func otherText_isRefused(_ text: String) {
        #expect(MACAddress(text) == nil)
    }

    @Test func groupBit_andOtherBytes() {
        #expect(MACAddress.broadcast.isMulticast && MACAddress(0x33, 0x33, 0, 0, 0, 1).isMulticast)
        #expect(!MACAddress(0x52, 0xff, 0, 0, 0, 1).isMulticast)
        #expect(MACAddress(bits: 1 << 48).isZero)
        #expect(MACAddress.broadcast[6] == 0 && MACAddress.broadcast[-1] == 0)
    }
}
