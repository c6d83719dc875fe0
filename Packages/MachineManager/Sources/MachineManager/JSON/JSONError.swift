/// Why the text of one top-level value was refused.
public enum JSONError: Error, Equatable, Sendable {
    /// A byte that cannot stand where it stands.
    case unexpectedByte(UInt8)
    case invalidLiteral
    case invalidNumber
    /// A number outside the range of a double.
    case numberOutOfRange
    case invalidEscape
    /// Half of a UTF-16 surrogate pair.
    case loneSurrogate
    /// A control character inside a string.
    case controlCharacter
    case invalidUTF8
    case duplicateKey
    case tooDeep(limit: Int)
    case tooLong(limit: Int)
    case tooManyValues(limit: Int)
}

extension JSONError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unexpectedByte(let byte):
            (0x21..<0x7f).contains(byte) ? "unexpected '\(UnicodeScalar(byte))'" : "unexpected byte 0x\(String(byte, radix: 16))"
        case .invalidLiteral: "invalid word"
        case .invalidNumber: "invalid number"
        case .numberOutOfRange: "number out of range"
        case .invalidEscape: "invalid escape in a string"
        case .loneSurrogate: "half of a surrogate pair in a string"
        case .controlCharacter: "control character in a string"
        case .invalidUTF8: "invalid UTF-8 in a string"
        case .duplicateKey: "duplicate key in an object"
        case .tooDeep(let limit): "nested deeper than \(limit) levels"
        case .tooLong(let limit): "longer than \(limit) bytes"
        case .tooManyValues(let limit): "more than \(limit) values"
        }
    }
}

/// What a reader accepts of one top-level value: these bound its memory and the depth of recursion of whoever walks the value.
public struct JSONLimits: Equatable, Sendable {
    /// Arrays and objects inside each other.
    public var depth = 64
    /// Bytes of text, white space included.
    public var length = 64 << 10
    /// Values and keys. Finding duplicate keys takes time that grows with its square.
    public var values = 2048

    public init() {}
}
