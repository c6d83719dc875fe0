internal import LinuxSys

/// One command: what it takes, what it gives and how it is carried out. `query-commands`, `query-qmp-schema` and the check of arguments read it.
struct QMPCommand: Sendable {
    typealias Action = @Sendable (QMPArguments, QMPContext) throws(QMPError) -> QMPAnswer

    let name: String
    /// Built when they are asked for and dropped: the running process keeps none of it.
    let arguments: @Sendable () -> [QMPMember]
    let result: @Sendable () -> QMPType
    let run: Action

    init(
        _ name: String, _ arguments: @escaping @Sendable @autoclosure () -> [QMPMember] = [],
        gives result: @escaping @Sendable @autoclosure () -> QMPType = .nothing, run: @escaping Action
    ) {
        self.name = name
        self.arguments = arguments
        self.result = result
        self.run = run
    }
}

/// What a command works with.
struct QMPContext: Sendable {
    let control: any MachineControl
    let descriptors: QMPDescriptors
    let client: any QMPClient
}

/// The client that sent a command.
protocol QMPClient: AnyObject, Sendable {
    /// The oldest descriptor that came before the end of the command and that no command has taken.
    func takeDescriptor() -> OwnedFD?
}

/// What follows `return`.
enum QMPAnswer: Sendable {
    case value(JSONValue)
    /// A list that is too long to be held whole; `write` appends an element and may be called after the command is done.
    case list(count: Int, write: @Sendable (_ index: Int, _ output: inout [UInt8]) -> Void)

    static let done = QMPAnswer.value(.object([:]))
}

extension QMPCommand {
    static let negotiation = "qmp_capabilities"

    /// Every command there is, in the order of `query-commands`.
    static let all: [QMPCommand] =
        session + lifecycle + machine + memory + balloon + memoryDevices + device + block + throttle + blockStubs + network + descriptor + character + introspection
        + objects + statistics + migration + trace

    static func named(_ name: String) -> QMPCommand? { all.first { $0.name == name } }
}
