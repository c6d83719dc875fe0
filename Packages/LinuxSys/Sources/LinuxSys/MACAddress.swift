/// An Ethernet address (IEEE 802, EUI-48). A value of one word: comparing two costs one instruction.
public struct MACAddress: Hashable, Sendable {
    /// The address in the low 48 bits; its first byte on the wire is the highest.
    public let bits: UInt64

    /// Takes the low 48 bits of `bits`.
    public init(bits: UInt64) { self.bits = bits & 0xffff_ffff_ffff }

    /// The bytes in their order on the wire.
    public init(_ b0: UInt8, _ b1: UInt8, _ b2: UInt8, _ b3: UInt8, _ b4: UInt8, _ b5: UInt8) {
        let high = UInt64(b0) << 40 | UInt64(b1) << 32 | UInt64(b2) << 24
        bits = high | UInt64(b3) << 16 | UInt64(b4) << 8 | UInt64(b5)
    }

    /// Six bytes of two hexadecimal digits with colons between them, as in `52:54:00:12:34:56`; nil for anything else.
    public init?(_ text: String) {
        guard text.utf8.count == 17 else { return nil }
        var bits: UInt64 = 0
        for (index, byte) in text.utf8.enumerated() {
            if index % 3 == 2 {
                guard byte == UInt8(ascii: ":") else { return nil }
            } else {
                guard let digit = hexadecimalDigit(byte) else { return nil }
                bits = bits << 4 | digit
            }
        }
        self.bits = bits
    }

    public static let broadcast = MACAddress(bits: 0xffff_ffff_ffff)

    /// Byte `index` on the wire, 0 to 5; 0 for any other index.
    public subscript(index: Int) -> UInt8 {
        (0..<6).contains(index) ? UInt8(truncatingIfNeeded: bits >> UInt64((5 - index) * 8)) : 0
    }

    /// The group bit: multicast and broadcast addresses have it, a station's own address has not.
    public var isMulticast: Bool { self[0] & 1 != 0 }

    public var isZero: Bool { bits == 0 }
}

extension MACAddress: CustomStringConvertible {
    public var description: String {
        var text = ""
        for index in 0..<6 {
            let byte = self[index]
            if index > 0 { text += ":" }
            text += String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
        return text
    }
}

private func hexadecimalDigit(_ byte: UInt8) -> UInt64? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a")) + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A")) + 10
    default: nil
    }
}
