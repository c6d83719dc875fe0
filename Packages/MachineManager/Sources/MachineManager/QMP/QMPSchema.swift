/// What `query-qmp-schema` says, in the form of QEMU's qapi/introspect.json, written from the command table piece by piece: nothing of it is kept.
///
/// Types without a name of their own are called after the place where they stand, which is as good as the numbers that QEMU gives them.
struct QMPSchema {
    private static let empty = "empty"

    /// Pieces to write: what the types rest on, then each command, then each event.
    static var count: Int { 1 + QMPCommand.all.count + QMPEvent.all.count }

    static func write(_ index: Int, to output: inout [UInt8]) {
        var schema = QMPSchema()
        let commands = QMPCommand.all
        let events = QMPEvent.all
        if index < 1 {
            schema.addBuiltins()
        } else if index <= commands.count {
            schema.add(commands[index - 1])
        } else if index - 1 - commands.count < events.count {
            schema.add(events[index - 1 - commands.count])
        }
        for (position, entry) in schema.entries.enumerated() {
            if position > 0 { output.append(UInt8(ascii: ",")) }
            entry.write(to: &output)
        }
    }

    private var entries: [JSONValue] = []

    private mutating func addBuiltins() {
        for (name, kind) in [("str", "string"), ("int", "int"), ("number", "number"), ("bool", "boolean"), ("any", "value")] {
            entries.append(["name": .string(name), "meta-type": "builtin", "json-type": .string(kind)])
        }
        for type in [QMPType.text, .any] { entries.append(Self.array(Self.name(of: type, at: ""))) }
        entries.append(["name": "bool-or-str", "meta-type": "alternate", "members": [["type": "bool"], ["type": "str"]]])
        entries.append(["name": "int-or-str", "meta-type": "alternate", "members": [["type": "int"], ["type": "str"]]])
        entries.append(["name": .string(Self.empty), "meta-type": "object", "members": []])
    }

    private mutating func add(_ command: QMPCommand) {
        let arguments = QMPType.object(command.arguments())
        let result = command.result()
        let (argumentPlace, resultPlace) = ("\(command.name)-arg", "\(command.name)-ret")
        entries.append([
            "name": .string(command.name), "meta-type": "command", "arg-type": .string(Self.name(of: arguments, at: argumentPlace)),
            "ret-type": .string(Self.name(of: result, at: resultPlace)), "allow-oob": false,
        ])
        define(arguments, at: argumentPlace)
        define(result, at: resultPlace)
    }

    private mutating func add(_ event: QMPEvent) {
        let place = "\(event.name)-data"
        let data = QMPType.object(event.data)
        entries.append(["name": .string(event.name), "meta-type": "event", "arg-type": .string(Self.name(of: data, at: place))])
        define(data, at: place)
    }

    private mutating func define(_ type: QMPType, at place: String) {
        switch type {
        case .object(let members) where !members.isEmpty:
            let list: [JSONValue] = members.map { member in
                var entry: JSONObject = ["name": .string(member.name), "type": .string(Self.name(of: member.type, at: "\(place).\(member.name)"))]
                // A default of null: it may be left out, and what that means is not said here.
                if !member.isRequired { entry["default"] = .null }
                return .object(entry)
            }
            entries.append(["name": .string(place), "meta-type": "object", "members": .array(list)])
            for member in members { define(member.type, at: "\(place).\(member.name)") }
        case .choice(let words):
            entries.append([
                "name": .string(place), "meta-type": "enum", "members": .array(words.map { ["name": .string($0)] }), "values": .array(words.map(JSONValue.string)),
            ])
        case .list(.string), .list(.any): break
        case .list(let element):
            entries.append(Self.array(Self.name(of: element, at: place)))
            define(element, at: place)
        default: break
        }
    }

    private static func array(_ element: String) -> JSONValue {
        ["name": .string("[\(element)]"), "meta-type": "array", "element-type": .string(element)]
    }

    /// The name of a type that stands at `place`.
    private static func name(of type: QMPType, at place: String) -> String {
        switch type {
        case .any: "any"
        case .boolean: "bool"
        case .string: "str"
        case .integer: "int"
        case .number: "number"
        case .onOff: "bool-or-str"
        case .numeric, .size: "int-or-str"
        case .choice: place
        case .list(let element): "[\(name(of: element, at: place))]"
        case .object(let members): members.isEmpty ? empty : place
        }
    }
}
