/// A command as a client sent it, checked against the table.
struct QMPRequest: Sendable {
    let command: QMPCommand
    let arguments: QMPArguments

    /// The `id` of a request, whatever else is wrong with it: any JSON value, and the answer repeats it.
    static func id(of message: JSONValue) -> JSONValue? {
        guard case .object(let object) = message else { return nil }
        return object["id"]
    }

    init(_ message: JSONValue) throws(QMPError) {
        guard case .object(let object) = message else { throw QMPError("a request must be a JSON object") }
        var name: String?
        var arguments = JSONObject()
        for member in object.members {
            switch (member.key, member.value) {
            case ("id", _): break
            case ("execute", .string(let text)): name = text
            case ("execute", _): throw QMPError("'execute' must be a string")
            case ("arguments", .object(let object)): arguments = object
            case ("arguments", _): throw QMPError("'arguments' must be an object")
            case ("exec-oob", _), ("control", _): throw QMPError("out-of-band execution is not supported")
            default: throw QMPError("unknown key \(quoted(member.key)) in a request")
            }
        }
        guard let name else { throw QMPError("'execute' is missing") }
        guard let command = QMPCommand.named(name) else { throw QMPError(.commandNotFound, "unknown command \(quoted(name))") }
        try QMPType.check(arguments, command.arguments(), "", of: name)
        self.command = command
        self.arguments = QMPArguments(arguments)
    }
}
