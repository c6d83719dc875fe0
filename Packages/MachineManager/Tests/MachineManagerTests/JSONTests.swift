import Testing

@testable import MachineManager

private func read(_ bytes: some Sequence<UInt8>, _ reader: inout JSONReader) -> [JSONReader.Event] {
    bytes.compactMap { reader.push($0) }
}

private func read(_ text: String) -> [JSONReader.Event] {
    var reader = JSONReader()
    return read(text.utf8, &reader)
}

/// The value of a text that holds one.
private func value(_ text: String) -> JSONValue? {
    guard case .value(let value)? = read(text + "\n").first, read(text + "\n").count == 1 else { return nil }
    return value
}

/// The error of a text that holds nothing else.
private func error(_ text: String) -> JSONError? {
    guard case .error(let error)? = read(text + "\n").first, read(text + "\n").count == 1 else { return nil }
    return error
}

private func written(_ value: JSONValue) -> String {
    var output: [UInt8] = []
    value.write(to: &output)
    return String(decoding: output, as: UTF8.self)
}

/// Numbers that are the same in every run.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

@Suite struct JSONTests {
    @Test(arguments: [
        ("null", .null), ("true", true), ("false", false), ("0", 0), ("-0", 0), ("-1", -1), ("9223372036854775807", .integer(.max)),
        ("-9223372036854775808", .integer(.min)), ("9223372036854775808", .unsigned(1 << 63)), ("18446744073709551615", .unsigned(.max)),
        ("18446744073709551616", .double(18446744073709551616)), ("-9223372036854775809", .double(-9223372036854775808)),
        ("1.5", .double(1.5)), ("-2E-2", .double(-0.02)), ("1e2", .double(100)), ("1.0", .double(1)), ("1e-999", .double(0)),
        ("\"\"", ""), ("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\"\\/\u{8}\u{c}\n\r\t"), ("\"\\u0041\\u00e9\\u20AC\"", "Aé€"),
        ("\"\\ud83d\\uDE00\"", "😀"), ("\"\\u0000\"", "\u{0}"), ("\"é€😀\u{7f}\"", "é€😀\u{7f}"),
        ("[]", []), ("{}", [:]), (" [ 1 , [ ] , { } ] ", [1, [], [:]]), ("{\"b\":1,\"a\":{\"c\":[null]}}", ["b": 1, "a": ["c": [.null]]]),
    ] as [(String, JSONValue)])
    func value_isRead(_ text: String, _ expected: JSONValue) {
        #expect(value(text) == expected)
    }

    @Test(arguments: [
        ("nul1", .invalidLiteral), ("trUe", .invalidLiteral), ("x", .invalidLiteral), ("X", .unexpectedByte(0x58)),
        ("01", .invalidNumber), ("-", .invalidNumber), ("1.", .invalidNumber), ("1e", .invalidNumber), ("1e+", .invalidNumber), ("1.2.3", .invalidNumber),
        ("1-2", .invalidNumber), ("--1", .invalidNumber), ("+1", .unexpectedByte(0x2b)), (".5", .unexpectedByte(0x2e)), ("1x", .unexpectedByte(0x78)),
        ("1e999", .numberOutOfRange), ("1\(String(repeating: "0", count: 600))", .numberOutOfRange),
        ("\"\\x\"", .invalidEscape), ("\"\\u12g4\"", .invalidEscape), ("\"\\ud800\"", .loneSurrogate), ("\"\\ud800x\"", .loneSurrogate),
        ("\"\\ud800\\n\"", .loneSurrogate), ("\"\\ud800\\ud800\"", .loneSurrogate), ("\"\\udc00\"", .loneSurrogate), ("\"\\ud800\\u0041\"", .loneSurrogate),
        ("\"a\tb\"", .controlCharacter), ("\"open", .controlCharacter), ("'a'", .unexpectedByte(0x27)),
        ("[1 2]", .unexpectedByte(0x32)), ("[1,]", .unexpectedByte(0x5d)), ("[,1]", .unexpectedByte(0x2c)), ("[1}", .unexpectedByte(0x7d)),
        ("{\"a\":1]", .unexpectedByte(0x5d)), ("{\"a\" 1}", .unexpectedByte(0x31)), ("{\"a\":}", .unexpectedByte(0x7d)), ("{\"a\":1,}", .unexpectedByte(0x7d)),
        ("{a:1}", .unexpectedByte(0x61)), ("{1:1}", .unexpectedByte(0x31)), ("{\"a\":1,\"a\":2}", .duplicateKey), ("]", .unexpectedByte(0x5d)), (",", .unexpectedByte(0x2c)),
    ] as [(String, JSONError)])
    func wrongText_isRefused(_ text: String, _ expected: JSONError) {
        #expect(error(text) == expected)
    }

    @Test(arguments: [[0x80], [0xc0, 0x80], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xfe]] as [[UInt8]])
    func string_withInvalidUTF8_isRefused(_ bytes: [UInt8]) {
        var reader = JSONReader()
        #expect(read([0x5b, 0x22] + bytes + [0x22, 0x5d], &reader) == [.error(.invalidUTF8)])
        #expect(read("[1]".utf8, &reader) == [.value([1])])
    }

    @Test func everyValue_survivesWritingAndReading() {
        var generator = SeededGenerator(state: 42)
        func make(_ depth: Int) -> JSONValue {
            switch Int.random(in: 0..<(depth > 3 ? 6 : 8), using: &generator) {
            case 0: .null
            case 1: .bool(Bool.random(using: &generator))
            case 2: .integer(Int64(truncatingIfNeeded: generator.next()))
            case 3: .unsigned(generator.next() | 1 << 63)
            case 4: .double(Double.random(in: -1e300...1e300, using: &generator))
            case 5: .string(text())
            case 6: .array((0..<3).map { _ in make(depth + 1) })
            default: object(depth)
            }
        }
        func text() -> String {
            String(String.UnicodeScalarView((0..<6).compactMap { _ in UnicodeScalar(UInt32.random(in: 0...0x1_0000, using: &generator)) }))
        }
        func object(_ depth: Int) -> JSONValue {
            var object = JSONObject()
            for index in 0..<3 { object["\(index)" + text()] = make(depth + 1) }
            return .object(object)
        }
        for _ in 0..<500 {
            let original = JSONValue.array([make(0)])
            #expect(read(written(original)) == [.value(original)])
        }
    }

    @Test func writer_escapesWhatMustBeEscaped() {
        #expect(written("\"\\/\n\r\t\u{0}\u{1f}\u{7f}é") == "\"\\\"\\\\/\\n\\r\\t\\u0000\\u001f\u{7f}é\"")
        #expect(written(["a": [1, .unsigned(.max), .double(1.5), .null, true], "b": [:]]) == "{\"a\":[1,18446744073709551615,1.5,null,true],\"b\":{}}")
        #expect(written(.double(.infinity)) == "null")
    }

    @Test func severalValues_inOneStream_needNoSeparator() {
        #expect(read("{}[]true\"a\"null{\"a\":1}") == [.value([:]), .value([]), .value(true), .value("a"), .value(.null), .value(["a": 1])])
        #expect(read("1 2\r\n3\t") == [.value(1), .value(2), .value(3)])
    }

    @Test func stream_cutAtEveryByte_readsAsWhole() {
        let text = "{\"execute\":\"a\\u00e9\\ud83d\\ude00\",\"id\":[1.5,-2,true,null,{\"é\":{}}]} bad {\"b\":[1,}]}\n[3]{\"c\":\"\\x\"}{}"
        let bytes = Array(text.utf8)
        let whole = read(text)
        #expect(whole.count == 7)
        for cut in 0...bytes.count {
            // A reader that is copied in the middle of anything goes on from there.
            var first = JSONReader()
            let start = read(bytes[..<cut], &first)
            var second = first
            #expect(start + read(bytes[cut...], &second) == whole)
        }
    }

    @Test(arguments: [
        ("{\"a\":bogus,\"b\":{\"c\":1}}", "after the object"), ("{\"a\":\"\\q}\\\"}\"}", "after a broken string"), ("garbage ", "at the bracket"),
        ("{\"a\":1\n", "not at a newline where white space may stand"), ("{\"a\":x\n", "at the newline"), ("{\"a\":\"open\n", "at the end of the line"),
        ("[[[[1 2", "not before 0xff"), ("]]]}}}", "at the bracket"), ("12{", "at once"), ("\u{0}\u{1}", "at the bracket"),
    ])
    func garbage_isOneError_andTheReaderGoesOn(_ text: String, _ place: String) {
        var reader = JSONReader()
        var bytes = Array(text.utf8)
        if place == "not before 0xff" { bytes.append(0xff) }
        if place == "not at a newline where white space may stand" { bytes += "{\n".utf8 }
        if place == "at once" { bytes.append(UInt8(ascii: "}")) }
        let events = read(bytes, &reader)
        #expect(events.count { if case .error = $0 { true } else { false } } == 1)
        #expect(read("{\"good\":1}".utf8, &reader) == [.value(["good": 1])])
    }

    @Test func nesting_beyondTheLimit_isRefusedAndSkipped() {
        let limits = JSONLimits()
        #expect(value(String(repeating: "[", count: limits.depth) + String(repeating: "]", count: limits.depth)) != nil)
        let deep = String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)
        #expect(read(deep + "{}") == [.error(.tooDeep(limit: limits.depth)), .value([:])])
        let objects = String(repeating: "{\"a\":", count: 100_000)
        #expect(read(objects + "\n{}") == [.error(.tooDeep(limit: limits.depth)), .value([:])])
    }

    @Test func length_beyondTheLimit_isRefusedAndSkipped() {
        let limit = JSONLimits().length
        #expect(value("\"" + String(repeating: "a", count: limit - 2) + "\"") != nil)
        #expect(read("[\"" + String(repeating: "a", count: 4 * limit) + "\"]{}") == [.error(.tooLong(limit: limit)), .value([:])])
        #expect(read("[" + String(repeating: " ", count: 2 * limit) + "]{}") == [.error(.tooLong(limit: limit)), .value([:])])
        // White space between values counts for none of them.
        #expect(read(String(repeating: " ", count: 2 * limit) + "{}") == [.value([:])])
    }

    @Test func values_beyondTheLimit_areRefusedAndSkipped() {
        let limit = JSONLimits().values
        let fits = "[" + String(repeating: "1,", count: limit - 2) + "1]"
        #expect(value(fits) != nil)
        #expect(read("[1," + fits.dropFirst() + "{}") == [.error(.tooManyValues(limit: limit)), .value([:])])
        let keys = "{" + (0...limit).map { "\"\($0)\":[]" }.joined(separator: ",") + "}"
        #expect(read(keys + "{}") == [.error(.tooManyValues(limit: limit)), .value([:])])
    }

    @Test func anyBytes_areReadInBoundedMemory_andTheReaderRecovers() {
        var generator = SeededGenerator(state: 7)
        let alphabet = Array("{}[]:,\"\\u0a1-.eE tfn\n\r".utf8) + [0, 0x80, 0xc3, 0xff]
        for round in 0..<300 {
            var reader = JSONReader()
            for _ in 0..<2000 {
                let byte = round.isMultiple(of: 2) ? alphabet.randomElement(using: &generator) ?? 0 : UInt8.random(in: .min ... .max, using: &generator)
                _ = reader.push(byte)
                #expect(reader.frames.count <= 64 && reader.scratch.count <= 2000)
            }
            // A newline ends garbage, 0xff ends an unfinished value.
            _ = read([0xff, 0x0a], &reader)
            #expect(read("{\"good\":1}".utf8, &reader) == [.value(["good": 1])])
        }
    }
}
