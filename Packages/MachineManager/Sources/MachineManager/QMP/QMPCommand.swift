/// Every command there is: `query-commands`, the check of arguments and the execution all go by this list.
enum QMPCommand: String, CaseIterable, Sendable {
    case capabilities = "qmp_capabilities"
    case queryVersion = "query-version"
    case queryStatus = "query-status"
    case queryCommands = "query-commands"
    case queryCPUs = "query-cpus"
    case queryHotpluggableCPUs = "query-hotpluggable-cpus"
    case stop
    case cont
    case quit
    case systemPowerdown = "system_powerdown"
    case systemReset = "system_reset"

    /// What the command takes; a command takes nothing else.
    var arguments: [QMPArgument] {
        switch self {
        case .capabilities: [QMPArgument("enable", .stringList)]
        default: []
        }
    }
}

/// An argument that may be left out.
struct QMPArgument: Sendable {
    enum Kind: Sendable {
        case stringList

        var name: String {
            switch self {
            case .stringList: "a list of strings"
            }
        }

        func accepts(_ value: JSONValue) -> Bool {
            switch (self, value) {
            case (.stringList, .array(let elements)):
                elements.allSatisfy { if case .string = $0 { true } else { false } }
            default: false
            }
        }
    }

    let name: String
    let kind: Kind

    init(_ name: String, _ kind: Kind) {
        self.name = name
        self.kind = kind
    }
}
