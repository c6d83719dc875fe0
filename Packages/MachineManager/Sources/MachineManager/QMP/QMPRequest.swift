/// A command as a client sent it, checked against the table.
struct QMPRequest: Equatable, Sendable {
    let command: QMPCommand
    let arguments: JSONObject

    /// The `id` of a request, whatever else is wrong with it: any JSON value, and the answer repeats it.
    static func id(of message: JSONValue) -> JSONValue? {
        guard case .object(let object) = message else { return nil }
        return object["id"]
    }

    init(_ message: JSONValue) throws(QMPError) {
        guard case .object(let object) = message else { throw QMPError(.generic, "a request must be a JSON object") }
        var name: String?
        var arguments = JSONObject()
        for member in object.members {
            switch (member.key, member.value) {
            case ("id", _): break
            case ("execute", .string(let text)): name = text
            case ("execute", _): throw QMPError(.generic, "'execute' must be a string")
            case ("arguments", .object(let object)): arguments = object
            case ("arguments", _): throw QMPError(.generic, "'arguments' must be an object")
            case ("exec-oob", _), ("control", _): throw QMPError(.generic, "out-of-band execution is not supported")
            default: throw QMPError(.generic, "unknown key \(quoted(member.key)) in a request")
            }
        }
        guard let name else { throw QMPError(.generic, "'execute' is missing") }
        guard let command = QMPCommand(rawValue: name) else { throw QMPError(.commandNotFound, "unknown command \(quoted(name))") }
        for member in arguments.members {
            guard let argument = command.arguments.first(where: { $0.name == member.key }) else {
                throw QMPError(.generic, "\(command.rawValue): unknown argument \(quoted(member.key))")
            }
            guard argument.kind.accepts(member.value) else {
                throw QMPError(.generic, "\(command.rawValue): argument \(quoted(member.key)) must be \(argument.kind.name)")
            }
        }
        self.command = command
        self.arguments = arguments
    }
}
