internal import LinuxSys

/// Named values, each checked against its row of the option table: the value of one option taken apart, or the arguments of a QMP command
/// that has the same meaning.
struct ParameterList {
    enum Value: Equatable {
        case bool(Bool)
        case number(UInt64)
        /// Ascending, each once.
        case numbers([UInt64])
        case text(String)
    }

    /// Where the values are from, as messages write it.
    private enum Origin {
        /// An option without its dash.
        case option(String)
        case command(String)
    }

    private let origin: Origin
    /// The variant that the first token chose, for example `virtio-blk-device`.
    private(set) var variant = ""
    /// The first token of an option whose row has an `address` head.
    private(set) var address = ""
    private var values: [(key: String, value: Value)] = []
    /// What QMP calls the parameters that it does not call by their key.
    private var names: [(key: String, name: String)] = []

    /// Reads `text` by the rules of `spec`.
    init(_ text: String, for spec: OptionSpec) throws(CommandLineError) {
        origin = .option(spec.name)
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
            guard found.isSupported else { throw notSupportedYet(found.name) }
            variant = found.name
            parameters = found.parameters
        case .address:
            address = tokens.first.map(String.init) ?? ""
            tokens = tokens.dropFirst()
        }
        for token in tokens { try read(token: token, from: parameters) }
        try checkRequired(parameters)
    }

    /// The arguments of the QMP command `command` under the keys of the parameters whose rules they keep. Messages write an argument's own name.
    init(command: String, _ arguments: [QMPParameter], for parameters: [ParameterSpec]) throws(CommandLineError) {
        origin = .command(command)
        for argument in arguments {
            if argument.name != argument.key { names.append((argument.key, argument.name)) }
        }
        for argument in arguments {
            if let value = argument.value { try read(key: argument.key, text: value, from: parameters) }
        }
        try checkRequired(parameters)
    }

    subscript(key: String) -> Value? { values.first { $0.key == key }?.value }

    func text(_ key: String) -> String? {
        if case .text(let text) = self[key] { text } else { nil }
    }

    func number(_ key: String) -> UInt64? {
        if case .number(let number) = self[key] { number } else { nil }
    }

    func numbers(_ key: String) -> [UInt64]? {
        if case .numbers(let numbers) = self[key] { numbers } else { nil }
    }

    /// A parameter of the kind `mac`.
    func macAddress(_ key: String) -> MACAddress? {
        number(key).map { MACAddress(bits: $0) }
    }

    func bool(_ key: String, default standard: Bool) -> Bool {
        if case .bool(let bool) = self[key] { bool } else { standard }
    }

    /// Whether the values came by QMP.
    var isCommand: Bool { if case .command = origin { true } else { false } }

    /// A parameter as the user writes it: `file=` on the command line, 'file.filename' in QMP.
    func label(_ key: String) -> String {
        isCommand ? "'\(names.first { $0.key == key }?.name ?? key)'" : "\(key)="
    }

    /// A parameter and its value as the user writes them.
    func label(_ key: String, is value: String) -> String {
        isCommand ? "\(label(key)) \(value)" : "\(key)=\(value)"
    }

    /// An error of this option or command; of this variant where there is one.
    func invalid(_ reason: String) -> CommandLineError {
        switch origin {
        case .option(let name): .invalid(option: variant.isEmpty ? name : "\(name) \(variant)", reason: reason)
        case .command(let name): .conflict("\(name): \(reason)")
        }
    }

    /// `what` is known, and this version cannot do it.
    func notSupportedYet(_ what: String) -> CommandLineError {
        switch origin {
        case .option(let name): .notSupportedYet(subject: variant.isEmpty ? "-\(name) \(what)" : "-\(name) \(variant) \(what)")
        case .command(let name): .notSupportedYet(subject: "\(name) \(what)")
        }
    }

    private func checkRequired(_ parameters: [ParameterSpec]) throws(CommandLineError) {
        for parameter in parameters where parameter.isRequired && self[parameter.key] == nil {
            throw invalid("\(label(parameter.key)) is missing")
        }
    }
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
            guard case .bool = value else { throw invalid("\(label(key)) is given more than once") }
            values[index].value = value
        } else {
            values.append((key, value))
        }
    }
}

/// An argument of a QMP command that means what a parameter of an option means.
struct QMPParameter {
    /// The parameter of the option.
    let key: String
    /// The argument as the client writes it, for messages; a member of a member with a dot, as in `file.filename`.
    let name: String
    /// As it would be on the command line: numbers in decimal, true as on. Nil when the client left it out, which only gives messages its name.
    let value: String?

    init(_ key: String, name: String? = nil, _ value: String?) {
        self.key = key
        self.name = name ?? key
        self.value = value
    }
}
