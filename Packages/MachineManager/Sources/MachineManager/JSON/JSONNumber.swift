/// The longest number that is read: more digits than any 64-bit integer or double needs.
private let numberLimit = 512

/// Reads the text of a number by the grammar of RFC 8259, section 6.
func parseJSONNumber(_ text: [UInt8]) throws(JSONError) -> JSONValue {
    guard text.count <= numberLimit else { throw .numberOutOfRange }
    var rest = text[...]
    let isNegative = rest.first == UInt8(ascii: "-")
    if isNegative { rest.removeFirst() }
    let whole = takeDigits(&rest)
    guard !whole.isEmpty, whole.count == 1 || whole.first != UInt8(ascii: "0") else { throw .invalidNumber }
    let isWhole = rest.isEmpty
    if rest.first == UInt8(ascii: ".") {
        rest.removeFirst()
        guard !takeDigits(&rest).isEmpty else { throw .invalidNumber }
    }
    if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
        rest.removeFirst()
        if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest.removeFirst() }
        guard !takeDigits(&rest).isEmpty else { throw .invalidNumber }
    }
    guard rest.isEmpty else { throw .invalidNumber }
    let string = String(decoding: text, as: UTF8.self)
    if isWhole {
        if let number = Int64(string) { return .integer(number) }
        if !isNegative, let number = UInt64(string) { return .unsigned(number) }
    }
    guard let number = Double(string), number.isFinite else { throw .numberOutOfRange }
    return .double(number)
}

private func takeDigits(_ text: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let digits = text.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    text = text.dropFirst(digits.count)
    return digits
}
