/// What a virtual machine does as a whole.
public enum VMState: Equatable, Sendable {
    /// Built; its vCPUs have never run.
    case created
    case running
    case paused
    /// It has ended or is about to; nothing leads out of this state.
    case shutdown
}

/// A change of state that is not allowed.
public struct VMTransitionError: Error, Equatable, Sendable, CustomStringConvertible {
    public let from: VMState
    public let to: VMState

    public init(from: VMState, to: VMState) {
        self.from = from
        self.to = to
    }

    public var description: String {
        switch (from, to) {
        case (.shutdown, _): "the virtual machine is shut down"
        case (.created, _): "the virtual machine has not started"
        case (.running, _): "the virtual machine is running already"
        case (.paused, _): "the virtual machine is paused"
        }
    }
}

/// The state of a virtual machine and the changes that are allowed. A value: its owner sees to locking.
///
/// Allowed are created -> running, created -> paused (`-S`), running <-> paused, and anything -> shutdown. Pausing what is paused and shutting down
/// what is shut down change nothing and are no errors.
public struct VMStateMachine: Equatable, Sendable {
    public private(set) var state: VMState

    public init() { state = .created }

    /// Whether `change(to:)` would do something; throws where it would.
    public func canChange(to new: VMState) throws(VMTransitionError) -> Bool {
        switch (state, new) {
        case (.created, .running), (.created, .paused), (.running, .paused), (.paused, .running): true
        case (.paused, .paused), (.shutdown, .shutdown): false
        case (_, .shutdown): true
        default: throw VMTransitionError(from: state, to: new)
        }
    }

    /// Goes to `new`; false when that is where it is.
    @discardableResult
    public mutating func change(to new: VMState) throws(VMTransitionError) -> Bool {
        let changes = try canChange(to: new)
        state = new
        return changes
    }
}
