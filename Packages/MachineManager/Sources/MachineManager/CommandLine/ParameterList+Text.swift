/// The longest piece of the user's input that a message repeats, in bytes.
private let quotedLimit = 80

/// The user's text between quotes, on one line and of bounded length: a message is one line whatever the input was.
func quoted(_ text: String) -> String {
    var shown = "'"
    var bytes = 0
    for scalar in text.unicodeScalars {
        bytes += UTF8.width(scalar)
        guard bytes <= quotedLimit else {
            shown += "..."
            break
        }
        let isControl = scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value)
        shown.unicodeScalars.append(isControl ? "?" : scalar)
    }
    return shown + "'"
}

/// Text without the double quotes around it, if there are such: StratoVirt takes them off the path of `-mem-path`.
func unwrapped(_ text: String) -> String {
    guard text.utf8.count > 2, text.hasPrefix("\""), text.hasSuffix("\"") else { return text }
    return String(text.dropFirst().dropLast())
}

/// A number in decimal digits only: no sign, no space. Nil when it is none or exceeds 64 bits.
func decimal(_ digits: Substring.UTF8View) -> UInt64? {
    guard !digits.isEmpty else { return nil }
    var number: UInt64 = 0
    for digit in digits {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
        let (tens, overflow) = number.multipliedReportingOverflow(by: 10)
        let (sum, carry) = tens.addingReportingOverflow(UInt64(digit &- UInt8(ascii: "0")))
        guard !overflow, !carry else { return nil }
        number = sum
    }
    return number
}

/// A number in hexadecimal digits after `0x`. Nil when it is none or exceeds 64 bits.
func hexadecimal(_ text: String) -> UInt64? {
    guard text.hasPrefix("0x") || text.hasPrefix("0X"), text.utf8.dropFirst(2).allSatisfy({ UnicodeScalar($0).properties.isASCIIHexDigit }) else { return nil }
    return UInt64(text.dropFirst(2), radix: 16)
}

/// A size as a user writes it.
func sizeText(_ bytes: UInt64) -> String {
    if bytes >= 1 << 30, bytes % (1 << 30) == 0 { return "\(bytes >> 30)G" }
    if bytes >= 1 << 20, bytes % (1 << 20) == 0 { return "\(bytes >> 20)M" }
    return "\(bytes >> 10)K"
}

/// Lower case of ASCII letters only; needs no Unicode tables.
func asciiLowercased(_ text: String) -> String {
    String(decoding: text.utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
}

/// Four decimal numbers of 0 to 255 without leading zeros, which some readers take for octal.
func isIPv4Address(_ text: String) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4
        && parts.allSatisfy { part in
            guard let number = decimal(part.utf8) else { return false }
            return number <= 255 && (part.utf8.count == 1 || part.utf8.first != UInt8(ascii: "0"))
        }
}

/// Hexadecimal groups with colons between, as far as they can be told from a name; the rest is for whoever uses the address (inet_pton(3)).
func isIPv6Address(_ text: String) -> Bool {
    text.utf8.contains(UInt8(ascii: ":")) && text.utf8.count <= 45
        && text.utf8.allSatisfy { UnicodeScalar($0).properties.isASCIIHexDigit || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") }
}

/// What the kernel takes for the name of an interface (dev_valid_name: no slash, colon or white space), and no control characters.
func isInterfaceName(_ text: String) -> Bool {
    guard text != ".", text != "..", (1...OptionLimit.interface).contains(text.utf8.count) else { return false }
    return text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
}

/// 8-4-4-4-12 hexadecimal digits (RFC 9562, section 4).
func isUUID(_ text: String) -> Bool {
    guard text.utf8.count == 36 else { return false }
    for (index, byte) in text.utf8.enumerated() {
        let isDash = index == 8 || index == 13 || index == 18 || index == 23
        let isDigit =
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"): true
            default: false
            }
        guard isDash ? byte == UInt8(ascii: "-") : isDigit else { return false }
    }
    return true
}
