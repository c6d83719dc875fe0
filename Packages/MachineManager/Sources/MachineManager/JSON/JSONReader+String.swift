extension JSONReader {
    mutating func takeString(_ byte: UInt8, _ phase: StringPhase) throws(JSONError) -> Event? {
        switch phase {
        case .plain:
            switch byte {
            case UInt8(ascii: "\""): return try endString()
            case UInt8(ascii: "\\"): token = .string(.escape)
            case 0..<0x20: throw .controlCharacter
            default: scratch.append(byte)
            }
        case .escape: try takeEscape(byte)
        case .unicode(let digits, let value): try takeUnicode(byte, digits, value)
        case .partnerBackslash:
            guard byte == UInt8(ascii: "\\") else { throw .loneSurrogate }
            token = .string(.partnerU)
        case .partnerU:
            guard byte == UInt8(ascii: "u") else { throw .loneSurrogate }
            token = .string(.unicode(digits: 0, value: 0))
        }
        return nil
    }

    private mutating func takeEscape(_ byte: UInt8) throws(JSONError) {
        let plain: UInt8
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): plain = byte
        case UInt8(ascii: "b"): plain = 0x08
        case UInt8(ascii: "f"): plain = 0x0c
        case UInt8(ascii: "n"): plain = 0x0a
        case UInt8(ascii: "r"): plain = 0x0d
        case UInt8(ascii: "t"): plain = 0x09
        case UInt8(ascii: "u"):
            token = .string(.unicode(digits: 0, value: 0))
            return
        default: throw .invalidEscape
        }
        scratch.append(plain)
        token = .string(.plain)
    }

    private mutating func takeUnicode(_ byte: UInt8, _ digits: Int, _ value: UInt32) throws(JSONError) {
        let digit: UInt8
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte &- UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte &- UInt8(ascii: "a") &+ 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte &- UInt8(ascii: "A") &+ 10
        default: throw .invalidEscape
        }
        let unit = value << 4 | UInt32(digit)
        guard digits == 3 else {
            token = .string(.unicode(digits: digits + 1, value: unit))
            return
        }
        switch (highSurrogate, unit) {
        case (nil, 0xd800...0xdbff):
            highSurrogate = unit
            token = .string(.partnerBackslash)
        case (let high?, 0xdc00...0xdfff):
            highSurrogate = nil
            try append(0x10000 &+ (high &- 0xd800) << 10 &+ (unit &- 0xdc00))
        case (nil, _): try append(unit)
        default: throw .loneSurrogate
        }
    }

    private mutating func append(_ codePoint: UInt32) throws(JSONError) {
        guard let scalar = UnicodeScalar(codePoint) else { throw .loneSurrogate }
        scratch += UTF8.encode(scalar).map(Array.init) ?? []
        token = .string(.plain)
    }

    private mutating func endString() throws(JSONError) -> Event? {
        guard let text = String(validating: scratch, as: UTF8.self) else { throw .invalidUTF8 }
        guard expectation == .key || expectation == .keyOrEnd, !frames.isEmpty else { return complete(.string(text)) }
        guard !frames[frames.count - 1].keys.contains(text) else { throw .duplicateKey }
        frames[frames.count - 1].keys.append(text)
        scratch.removeAll(keepingCapacity: scratch.capacity <= 4096)
        token = .none
        expectation = .colon
        return nil
    }
}
