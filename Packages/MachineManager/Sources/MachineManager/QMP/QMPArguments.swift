/// The arguments of one command, which have been checked against its table row; a getter gives nil for what is absent.
struct QMPArguments: Equatable, Sendable {
    let object: JSONObject

    init(_ object: JSONObject) { self.object = object }

    subscript(name: String) -> JSONValue? { object[name] }

    func text(_ name: String) -> String? {
        if case .string(let text)? = object[name] { text } else { nil }
    }

    /// The elements of a list of texts; none when it is absent.
    func texts(_ name: String) -> [String] {
        guard case .array(let elements)? = object[name] else { return [] }
        return elements.compactMap { if case .string(let text) = $0 { text } else { nil } }
    }

    /// A required text; the check has seen that it is there.
    func requiredText(_ name: String) -> String { text(name) ?? "" }

    /// A truth value, or a word for one.
    func bool(_ name: String) -> Bool? {
        switch object[name] {
        case .bool(let bool)?: bool
        case .string(let text)?: QMPType.truth(text)
        default: nil
        }
    }

    /// A whole number, or its text.
    func number(_ name: String) -> Int64? { object[name].flatMap(QMPType.wholeNumber) }

    /// The members of an object; none when it is absent.
    func members(_ name: String) -> QMPArguments {
        if case .object(let object)? = object[name] { QMPArguments(object) } else { QMPArguments(JSONObject()) }
    }

    /// The argument `name` (by default `key`) as the parameter `key` of the option with the same meaning; nil when it is absent. `object` names the
    /// argument that these are members of.
    func parameter(_ key: String, from name: String? = nil, in object: String? = nil) -> QMPParameter? {
        let name = name ?? key
        guard let value = self[name], let text = value.parameterText else { return nil }
        return QMPParameter(key, name: object.map { "\($0).\(name)" } ?? name, text)
    }
}

extension JSONValue {
    /// The value as the command line writes it; nil for null, lists and objects.
    fileprivate var parameterText: String? {
        switch self {
        case .string(let text):
            if text.hasPrefix("0x") || text.hasPrefix("0X"), let number = QMPType.wholeNumber(self) { String(number) } else { text }
        case .bool(let bool): bool ? "on" : "off"
        case .integer(let number): String(number)
        case .unsigned(let number): String(number)
        case .double(let number): String(number)
        case .null, .array, .object: nil
        }
    }
}
