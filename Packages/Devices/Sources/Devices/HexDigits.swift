/// `value` in hexadecimal without a prefix, as `String(_:radix:uppercase:)` gives it. The first call of that makes tables of all that integers can do: some
/// thousand instructions and 12 KiB, at each start of a machine.
func hexDigits(_ value: UInt64, uppercase: Bool = false) -> String {
    let ten: UInt8 = uppercase ? 0x41 : 0x61
    var text = ""
    for shift in stride(from: (63 - (value | 1).leadingZeroBitCount) & ~3, through: 0, by: -4) {
        let digit = UInt8(truncatingIfNeeded: value &>> UInt64(shift) & 15)
        text.unicodeScalars.append(Unicode.Scalar(digit < 10 ? 0x30 + digit : ten - 10 + digit))
    }
    return text
}
