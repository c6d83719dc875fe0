/// The value of one option, taken apart and checked against its row of the table.
struct ParameterList {
    enum Value: Equatable {
        case bool(Bool)
        case number(UInt64)
        case text(String)
    }

    /// The option without its dash.
    let option: String
    /// The variant that the first token chose, for example `virtio-blk-device`.
    private(set) var variant = ""
    /// The first token of an option whose row has an `address` head.
    private(set) var address = ""
    private var values: [(key: String, value: Value)] = []

    /// Reads `text` by the rules of `spec`.
    init(_ text: String, for spec: OptionSpec) throws(CommandLineError) {
        option = spec.name
        var parameters = spec.parameters
        var tokens = text.split(separator: ",", omittingEmptySubsequences: false)[...]
        switch spec.head {
        case .whole, .none:
            break
        case .implied(let key):
            if let first = tokens.first, !first.utf8.contains(UInt8(ascii: "=")) {
                tokens = tokens.dropFirst()
                try read(key: key, text: String(first), from: parameters)
            }
        case .variants(let what, let variants):
            let first = tokens.first.map(String.init) ?? ""
            tokens = tokens.dropFirst()
            guard let found = variants.first(where: { $0.name == first }) else {
                throw invalid(first.isEmpty ? "needs a \(what)" : "unknown \(what) \(quoted(first))")
            }
            guard found.isSupported else { throw .notSupportedYet(subject: "-\(option) \(found.name)") }
            variant = found.name
            parameters = found.parameters
        case .address:
            address = tokens.first.map(String.init) ?? ""
            tokens = tokens.dropFirst()
        }
        for token in tokens { try read(token: token, from: parameters) }
        for parameter in parameters where parameter.isRequired && self[parameter.key] == nil {
            throw invalid("\(parameter.key)= is missing")
        }
    }

    subscript(key: String) -> Value? { values.first { $0.key == key }?.value }

    func text(_ key: String) -> String? {
        if case .text(let text) = self[key] { text } else { nil }
    }

    func number(_ key: String) -> UInt64? {
        if case .number(let number) = self[key] { number } else { nil }
    }

    func bool(_ key: String, default standard: Bool) -> Bool {
        if case .bool(let bool) = self[key] { bool } else { standard }
    }

    /// An error of this option; of this variant where there is one.
    func invalid(_ reason: String) -> CommandLineError {
        .invalid(option: subject, reason: reason)
    }

    private var subject: String { variant.isEmpty ? option : "\(option) \(variant)" }
}

extension ParameterList {
    private mutating func read(token: Substring, from parameters: [ParameterSpec]) throws(CommandLineError) {
        guard !token.isEmpty else { throw invalid("empty parameter between commas") }
        guard let equals = token.utf8.firstIndex(of: UInt8(ascii: "=")) else {
            return try read(key: String(token), text: nil, from: parameters)
        }
        try read(key: String(token[..<equals]), text: String(token[token.utf8.index(after: equals)...]), from: parameters)
    }

    private mutating func read(key: String, text: String?, from parameters: [ParameterSpec]) throws(CommandLineError) {
        guard let spec = parameters.first(where: { $0.key == key }) else { throw invalid("unknown parameter \(quoted(key))") }
        let value = try check(spec, text)
        if let index = values.firstIndex(where: { $0.key == key }) {
            guard case .bool = value else { throw invalid("\(key)= is given more than once") }
            values[index].value = value
        } else {
            values.append((key, value))
        }
    }

    private func check(_ spec: ParameterSpec, _ text: String?) throws(CommandLineError) -> Value {
        if case .unsupported = spec.kind { throw .notSupportedYet(subject: "-\(subject) \(spec.key)=") }
        if case .flag = spec.kind, text == nil { return .bool(true) }
        guard let text, !text.isEmpty else { throw invalid("\(spec.key)= needs a value") }
        switch spec.kind {
        case .onOff, .flag:
            return .bool(try onOff(spec.key, text))
        case .onlyOff:
            guard try !onOff(spec.key, text) else { throw .notSupportedYet(subject: "-\(subject) \(spec.key)=\(text)") }
            return .bool(false)
        case .integer(let limits):
            return .number(try integer(spec.key, text, limits))
        case .integerOrAuto(let limits):
            return .number(text == "auto" ? 0 : try integer(spec.key, text, limits))
        case .size(let limits):
            return .number(try size(spec.key, text, limits))
        case .text(let limit), .path(let limit):
            guard text.utf8.count <= limit else { throw invalid("\(spec.key)= is longer than \(limit) bytes") }
            return .text(text)
        case .choice(let now, let later):
            return .text(try choice(spec.key, text, now, later))
        case .unsupported:
            throw .notSupportedYet(subject: "-\(subject) \(spec.key)=")
        }
    }

    private func onOff(_ key: String, _ text: String) throws(CommandLineError) -> Bool {
        switch text {
        case "on", "true", "yes", "unmap": true
        case "off", "false", "no", "ignore": false
        default: throw invalid("\(key)= must be on or off, not \(quoted(text))")
        }
    }

    private func integer(_ key: String, _ text: String, _ limits: ClosedRange<UInt64>) throws(CommandLineError) -> UInt64 {
        guard let number = decimal(text[...].utf8), limits.contains(number) else {
            throw invalid("\(key)= must be a number from \(limits.lowerBound) to \(limits.upperBound), not \(quoted(text))")
        }
        return number
    }

    private func size(_ key: String, _ text: String, _ limits: ClosedRange<UInt64>) throws(CommandLineError) -> UInt64 {
        let unit: UInt64? =
            switch text.utf8.last {
            case UInt8(ascii: "K"), UInt8(ascii: "k"): 1 << 10
            case UInt8(ascii: "M"), UInt8(ascii: "m"): 1 << 20
            case UInt8(ascii: "G"), UInt8(ascii: "g"): 1 << 30
            default: nil
            }
        guard let number = decimal(text[...].utf8.dropLast(unit == nil ? 0 : 1)) else {
            throw invalid("\(key)= must be a size such as 512M or 2G, not \(quoted(text))")
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit ?? 1 << 20)
        guard !overflow, limits.contains(bytes) else {
            throw invalid("\(key)= must be from \(sizeText(limits.lowerBound)) to \(sizeText(limits.upperBound)), not \(quoted(text))")
        }
        return bytes
    }

    private func choice(_ key: String, _ text: String, _ now: [String], _ later: [String]) throws(CommandLineError) -> String {
        let word = asciiLowercased(text)
        if now.contains(word) { return word }
        guard !later.contains(word) else { throw .notSupportedYet(subject: "-\(subject) \(key)=\(word)") }
        throw invalid("\(key)= must be \(now.joined(separator: " or ")), not \(quoted(text))")
    }
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

/// A size as a user writes it.
func sizeText(_ bytes: UInt64) -> String {
    if bytes >= 1 << 30, bytes % (1 << 30) == 0 { return "\(bytes >> 30)G" }
    if bytes >= 1 << 20, bytes % (1 << 20) == 0 { return "\(bytes >> 20)M" }
    return "\(bytes >> 10)K"
}

/// Lower case of ASCII letters only; needs no Unicode tables.
private func asciiLowercased(_ text: String) -> String {
    String(decoding: text.utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
}
