/// The type of an argument, a result or an event's data. `query-qmp-schema` is made from these, and arguments are checked against them.
indirect enum QMPType: Equatable, Sendable {
    case any
    case boolean
    /// Text of at most so many bytes, without NUL: what C calls it would reach would end there.
    case string(Int)
    case integer(ClosedRange<Int64>)
    case number
    /// One of some words.
    case choice([String])
    /// true, false or one of the words that `-drive` and its like take for them. Kata Containers and QEMU's clients write either.
    case onOff
    /// A whole number, or the same as text: decimal, or hexadecimal after `0x`.
    case numeric(ClosedRange<Int64>)
    /// Bytes: a whole number, or the same as text with K, M or G behind it, or without.
    case size
    case list(QMPType)
    case object([QMPMember])

    /// An id, a name.
    static let id = QMPType.string(OptionLimit.text)
    static let path = QMPType.string(OptionLimit.path)
    /// A whole number without limits of its own.
    static let integer = QMPType.integer(.min ... .max)
    /// The result of a command that says no more than that it worked.
    static let nothing = QMPType.object([])

    /// Text without a limit of its own, in what the server says.
    static let text = QMPType.string(.max)
}

/// A member of an object.
struct QMPMember: Equatable, Sendable {
    let name: String
    let type: QMPType
    let isRequired: Bool

    static func required(_ name: String, _ type: QMPType) -> QMPMember { QMPMember(name: name, type: type, isRequired: true) }
    static func optional(_ name: String, _ type: QMPType) -> QMPMember { QMPMember(name: name, type: type, isRequired: false) }
}

extension QMPType {
    /// Throws where `value`, the argument `path` of `command`, is not of this type.
    func check(_ value: JSONValue, _ path: String, of command: String) throws(QMPError) {
        switch (self, value) {
        case (.any, _), (.boolean, .bool), (.onOff, .bool): return
        case (.number, .integer), (.number, .unsigned), (.number, .double): return
        case (.string(let limit), .string(let text)) where text.utf8.count <= limit && !text.utf8.contains(0): return
        case (.onOff, .string(let text)) where Self.truth(text) != nil: return
        case (.integer(let range), .integer(let number)) where range.contains(number): return
        case (.choice(let words), .string(let word)) where words.contains(word): return
        case (.numeric(let range), _):
            guard let number = Self.wholeNumber(value), range.contains(number) else { break }
            return
        case (.size, _) where Self.bytes(value) != nil: return
        case (.list(let type), .array(let elements)):
            for element in elements { try type.check(element, path + "[]", of: command) }
            return
        case (.object(let members), .object(let object)):
            return try Self.check(object, members, path + ".", of: command)
        default: break
        }
        throw QMPError("\(command): argument \(quoted(path)) must be \(phrase(of: value))")
    }

    /// Throws where an object's members are not these.
    static func check(_ object: JSONObject, _ members: [QMPMember], _ prefix: String, of command: String) throws(QMPError) {
        for given in object.members {
            guard let member = members.first(where: { $0.name == given.key }) else {
                throw QMPError("\(command): unknown argument \(quoted(prefix + given.key))")
            }
            try member.type.check(given.value, prefix + member.name, of: command)
        }
        for member in members where member.isRequired && object[member.name] == nil {
            throw QMPError("\(command): argument \(quoted(prefix + member.name)) is missing")
        }
    }

    /// What would be right in the place of `value`.
    private func phrase(of value: JSONValue) -> String {
        switch self {
        case .any: "a value"
        case .boolean: "true or false"
        case .string(let limit):
            if case .string(let text) = value, text.utf8.count > limit { "a string of at most \(limit) bytes" } else if case .string = value {
                "a string without NUL characters"
            } else { "a string" }
        case .integer(.min ... .max): "a whole number"
        case .integer(let range): "a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .number: "a number"
        case .choice(let words): words.map(quoted).joined(separator: " or ")
        case .onOff: "true, false, 'on' or 'off'"
        case .numeric(let range): "a whole number from \(range.lowerBound) to \(range.upperBound), plain or as a string"
        case .size: "a number of bytes, or a string such as \"512M\" or \"2G\""
        case .list: "a list"
        case .object: "an object"
        }
    }

    /// The words of `-drive` and its like for true and false.
    static func truth(_ text: String) -> Bool? {
        switch text {
        case "on", "true", "yes": true
        case "off", "false", "no": false
        default: nil
        }
    }

    /// A number of bytes that fits 63 bits, or its text: see `size`.
    static func bytes(_ value: JSONValue) -> UInt64? {
        if let number = wholeNumber(value) { return UInt64(exactly: number) }
        guard case .string(let text) = value, let last = text.utf8.last else { return nil }
        let shift: UInt64
        switch last | 0x20 {
        case UInt8(ascii: "k"): shift = 10
        case UInt8(ascii: "m"): shift = 20
        case UInt8(ascii: "g"): shift = 30
        default: return nil
        }
        guard let number = decimal(text[...].utf8.dropLast()), number <= UInt64(Int64.max) >> shift else { return nil }
        return number << shift
    }

    /// A whole number, or its text: decimal, or hexadecimal after `0x`. No sign, no space.
    static func wholeNumber(_ value: JSONValue) -> Int64? {
        switch value {
        case .integer(let number): return number
        case .string(let text):
            if let number = decimal(text[...].utf8) { return Int64(exactly: number) }
            guard text.hasPrefix("0x") || text.hasPrefix("0X"), text.utf8.dropFirst(2).allSatisfy({ UnicodeScalar($0).properties.isASCIIHexDigit })
            else { return nil }
            return Int64(text.dropFirst(2), radix: 16)
        default: return nil
        }
    }
}
