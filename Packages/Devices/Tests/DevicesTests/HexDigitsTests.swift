import Testing

@testable import Devices

@Suite struct HexDigitsTests {
    @Test func digits_areThoseOfTheStandardLibrary() {
        let edges: [UInt64] = [0, 1, 9, 10, 15, 16, 0xFF, 0x100, 0xFED0_0000, 0x1234_5678_9ABC_DEF0, .max >> 1, .max]
        for value in edges + (0..<64).map({ 1 << $0 }) {
            #expect(hexDigits(value) == String(value, radix: 16))
            #expect(hexDigits(value, uppercase: true) == String(value, radix: 16, uppercase: true))
        }
    }
}
