/// A streaming JSON reader: takes a byte stream in pieces of any size and gives each top-level value as soon as its last byte is there. Values may follow
/// each other with or without white space between them; only a number needs a byte behind it to be known as complete.
///
/// After an error the rest of the broken value is skipped: to the end of its outermost array or object, to the end of the line, or to a byte 0xFF,
/// whichever is first. Outside of arrays and objects the next `{` or `[` also ends the skipping. What counts is only the bytes, never how they were cut.
///
/// Memory is bounded by the limits whatever comes in. Not for use by several threads at once.
public struct JSONReader: Sendable {
    public enum Event: Equatable, Sendable {
        case value(JSONValue)
        case error(JSONError)
    }

    /// An array or object that has begun.
    struct Frame: Sendable {
        let isObject: Bool
        var keys: [String] = []
        var elements: [JSONValue] = []
    }

    /// What the grammar wants next outside of tokens.
    enum Expectation: Sendable { case value, valueOrEnd, key, keyOrEnd, colon, commaOrEnd }

    enum Token: Sendable {
        case none
        case literal
        case number
        case string(StringPhase)
    }

    /// Where in a string the reader is.
    enum StringPhase: Sendable {
        case plain
        /// After a backslash.
        case escape
        /// Inside the four digits of `\u`.
        case unicode(digits: Int, value: UInt32)
        /// After a high surrogate: its partner's backslash, then its `u`, must come.
        case partnerBackslash
        case partnerU
    }

    let limits: JSONLimits
    var frames: [Frame] = []
    var expectation = Expectation.value
    var token = Token.none
    /// The bytes of the token so far; a string's are decoded already.
    var scratch: [UInt8] = []
    var highSurrogate: UInt32?
    private var length = 0
    private var valueCount = 0
    private var recovery: JSONRecovery?

    public init(limits: JSONLimits = JSONLimits()) {
        self.limits = limits
    }

    /// Takes one byte. A byte completes at most one value or uncovers at most one error.
    public mutating func push(_ byte: UInt8) -> Event? {
        if recovery != nil, recovery?.skip(byte) != .startsAnew { return endRecoveryIfDone() }
        recovery = nil
        do {
            return try take(byte)
        } catch {
            startRecovery(at: byte)
            return .error(error)
        }
    }

    /// Forgets a value that has begun, and any error.
    public mutating func reset() { self = JSONReader(limits: limits) }

    private mutating func endRecoveryIfDone() -> Event? {
        if recovery?.isDone == true { recovery = nil }
        return nil
    }

    private mutating func startRecovery(at byte: UInt8) {
        var skipper = JSONRecovery(depth: frames.count)
        if case .string(let phase) = token {
            skipper.isInString = true
            switch phase {
            case .escape, .partnerU: skipper.isEscaped = true
            case .plain, .unicode, .partnerBackslash: break
            }
        }
        reset()
        switch skipper.skip(byte) {
        // Only an opening bracket or a newline starts anew, and neither fails at the beginning of a value.
        case .startsAnew: _ = try? take(byte)
        case .skipped: if !skipper.isDone { recovery = skipper }
        }
    }

    private mutating func take(_ byte: UInt8) throws(JSONError) -> Event? {
        if frames.isEmpty, case .none = token, isWhitespace(byte) { return nil }
        length += 1
        guard length <= limits.length else { throw .tooLong(limit: limits.length) }
        switch token {
        case .none: return try takeStructure(byte)
        case .literal: return try takeLiteral(byte)
        case .string(let phase): return try takeString(byte, phase)
        case .number:
            if isNumberByte(byte) {
                scratch.append(byte)
                return nil
            }
            let event = complete(try parseJSONNumber(scratch))
            guard event != nil else { return try takeStructure(byte) }
            guard isWhitespace(byte) else { throw .unexpectedByte(byte) }
            return event
        }
    }

    private mutating func takeStructure(_ byte: UInt8) throws(JSONError) -> Event? {
        if isWhitespace(byte) { return nil }
        switch (expectation, byte) {
        case (.valueOrEnd, UInt8(ascii: "]")), (.keyOrEnd, UInt8(ascii: "}")): return close()
        case (.value, _), (.valueOrEnd, _): return try begin(byte)
        case (.key, UInt8(ascii: "\"")), (.keyOrEnd, UInt8(ascii: "\"")):
            try countValue()
            token = .string(.plain)
        case (.colon, UInt8(ascii: ":")): expectation = .value
        case (.commaOrEnd, UInt8(ascii: ",")): expectation = frames.last?.isObject == true ? .key : .value
        case (.commaOrEnd, UInt8(ascii: "}")) where frames.last?.isObject == true: return close()
        case (.commaOrEnd, UInt8(ascii: "]")) where frames.last?.isObject == false: return close()
        default: throw .unexpectedByte(byte)
        }
        return nil
    }

    private mutating func begin(_ byte: UInt8) throws(JSONError) -> Event? {
        // Before anything is begun: an error must find the state as it was before this byte.
        try countValue()
        switch byte {
        case UInt8(ascii: "\""): token = .string(.plain)
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            guard frames.count < limits.depth else { throw .tooDeep(limit: limits.depth) }
            frames.append(Frame(isObject: byte == UInt8(ascii: "{")))
            expectation = byte == UInt8(ascii: "{") ? .keyOrEnd : .valueOrEnd
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            token = .number
            scratch.append(byte)
        case UInt8(ascii: "a")...UInt8(ascii: "z"):
            token = .literal
            return try takeLiteral(byte)
        default: throw .unexpectedByte(byte)
        }
        return nil
    }

    private mutating func countValue() throws(JSONError) {
        valueCount += 1
        guard valueCount <= limits.values else { throw .tooManyValues(limit: limits.values) }
    }

    private mutating func takeLiteral(_ byte: UInt8) throws(JSONError) -> Event? {
        scratch.append(byte)
        if scratch.elementsEqual("true".utf8) { return complete(.bool(true)) }
        if scratch.elementsEqual("false".utf8) { return complete(.bool(false)) }
        if scratch.elementsEqual("null".utf8) { return complete(.null) }
        guard ["true", "false", "null"].contains(where: { $0.utf8.starts(with: scratch) }) else { throw .invalidLiteral }
        return nil
    }

    /// Puts a finished value where it belongs; a top-level one is the event.
    mutating func complete(_ value: JSONValue) -> Event? {
        token = .none
        scratch.removeAll(keepingCapacity: scratch.capacity <= 4096)
        guard !frames.isEmpty else {
            reset()
            return .value(value)
        }
        frames[frames.count - 1].elements.append(value)
        expectation = .commaOrEnd
        return nil
    }

    private mutating func close() -> Event? {
        guard let frame = frames.popLast() else { return nil }
        guard frame.isObject else { return complete(.array(frame.elements)) }
        return complete(.object(JSONObject(uniqueKeys: frame.keys, values: frame.elements)))
    }
}

extension JSONObject {
    /// Pairs keys, which the caller has found to be unique, with as many values.
    init(uniqueKeys: [String], values: [JSONValue]) {
        self.init()
        append(zip(uniqueKeys, values).map(Member.init(key:value:)))
    }
}

func isWhitespace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 }

private func isNumberByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"): true
    default: false
    }
}
