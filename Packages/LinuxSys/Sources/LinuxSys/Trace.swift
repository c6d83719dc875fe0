public import CLinuxSys
internal import Synchronization

/// Trace events: lines of the log that somebody asks for one by one, while the program runs. An enabled event is written whatever the log's level is.
///
/// An event that is not enabled costs a load and a branch that is never taken; its arguments are not evaluated. A guest can cause most events as often as it likes,
/// so each is written at most `limit` times a second, and what was left out is counted. Any thread; not from signal handlers.
public enum Trace {
    /// Lines of one event in a second.
    public static let limit: UInt32 = 1000

    private struct Budget {
        /// Second of CLOCK_MONOTONIC.
        var second: UInt64 = 0
        var count: UInt32 = 0
        /// Left out since the last line.
        var leftOut: UInt64 = 0
    }

    private struct State {
        /// By event; empty until the first line.
        var budgets: [Budget] = []
        var leftOut: UInt64 = 0
    }

    private static let state = Mutex(State())

    @inlinable @inline(__always)
    public static func isEnabled(_ event: TraceEvent) -> Bool { sys_trace_is_enabled(event.rawValue) }

    /// `subject` is what it happened to, and the numbers are those of `TraceEvent.fields`.
    @inlinable @inline(__always)
    public static func emit(
        _ event: TraceEvent, _ subject: @autoclosure () -> String = "", _ first: @autoclosure () -> UInt64 = 0, _ second: @autoclosure () -> UInt64 = 0,
        _ third: @autoclosure () -> UInt64 = 0, file: StaticString = #fileID, line: UInt = #line
    ) {
        if isEnabled(event) { write(event, subject(), first(), second(), third(), file, line) }
    }

    /// Runs `body`, and tells when it begins and how long it took.
    @inlinable
    public static func scope<Value, Failure: Error>(
        _ event: TraceEvent, _ subject: @autoclosure () -> String = "", file: StaticString = #fileID, line: UInt = #line, _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        guard isEnabled(event) else { return try body() }
        let subject = subject()
        let start = begin(event, subject, file, line)
        defer { end(event, subject, start, file, line) }
        return try body()
    }

    // MARK: What is enabled

    /// Enables or disables the events whose names match `pattern`, in which `*` stands for any text and `?` for any character; those events.
    @discardableResult
    public static func set(_ pattern: String, enabled: Bool) -> [TraceEvent] {
        let events = events(matching: pattern)
        for event in events { set(event, enabled: enabled) }
        return events
    }

    public static func set(_ event: TraceEvent, enabled: Bool) {
        if enabled { return sys_trace_enable(event.rawValue) }
        sys_trace_disable(event.rawValue)
        // Nothing more comes that could tell.
        let leftOut: UInt64 = state.withLock { state in
            let index = Int(event.rawValue)
            guard index < state.budgets.count else { return 0 }
            defer { state.budgets[index] = Budget() }
            return state.budgets[index].leftOut
        }
        if leftOut > 0 { put("\(event.name): \(leftOut) more were left out", #fileID, #line) }
    }

    public static func events(matching pattern: String) -> [TraceEvent] {
        TraceEvent.allCases.filter { matches(Array($0.name.utf8), Array(pattern.utf8)) }
    }

    /// Lines that were not written because there were too many.
    public static var leftOut: UInt64 { state.withLock { $0.leftOut } }

    /// In time that is the product of the lengths at most.
    static func matches(_ name: [UInt8], _ pattern: [UInt8]) -> Bool {
        var (place, at) = (0, 0)
        // Where to go on when what was tried after the last star fails.
        var star: (at: Int, place: Int)?
        while place < name.count {
            if at < pattern.count, pattern[at] == UInt8(ascii: "*") {
                star = (at, place)
                at += 1
            } else if at < pattern.count, pattern[at] == name[place] || pattern[at] == UInt8(ascii: "?") {
                at += 1
                place += 1
            } else if let last = star {
                star = (last.at, last.place + 1)
                at = last.at + 1
                place = last.place + 1
            } else {
                return false
            }
        }
        return pattern[at...].allSatisfy { $0 == UInt8(ascii: "*") }
    }

    // MARK: Lines

    @inline(never)
    public static func write(
        _ event: TraceEvent, _ subject: String, _ first: UInt64, _ second: UInt64, _ third: UInt64, _ file: StaticString, _ line: UInt
    ) {
        guard mayWrite(event, file, line) else { return }
        var text = head(event, subject)
        for (field, number) in zip(event.fields.description.split(separator: " "), [first, second, third]) {
            let isHexadecimal = field.hasPrefix("0x")
            text += " \(isHexadecimal ? field.dropFirst(2) : field)=\(isHexadecimal ? "0x" : "")\(String(number, radix: isHexadecimal ? 16 : 10))"
        }
        put(text, file, line)
    }

    /// The time, for `end`.
    public static func begin(_ event: TraceEvent, _ subject: String, _ file: StaticString, _ line: UInt) -> UInt64 {
        if mayWrite(event, file, line) { put(head(event, subject) + " begins", file, line) }
        return Clock.monotonicNanoseconds()
    }

    public static func end(_ event: TraceEvent, _ subject: String, _ start: UInt64, _ file: StaticString, _ line: UInt) {
        let time = Clock.monotonicNanoseconds() &- start
        if mayWrite(event, file, line) { put(head(event, subject) + " took \(Clock.milliseconds(time)) ms", file, line) }
    }

    private static func head(_ event: TraceEvent, _ subject: String) -> String { subject.isEmpty ? "\(event.name):" : "\(event.name): \(subject)" }

    private static func put(_ text: String, _ file: StaticString, _ line: UInt) { Log.put(.trace, text, file, line) }

    /// False when the event has used up its lines of this second.
    private static func mayWrite(_ event: TraceEvent, _ file: StaticString, _ line: UInt) -> Bool {
        let second = Clock.monotonicNanoseconds() / 1_000_000_000
        let (mayWrite, leftOut): (Bool, UInt64) = state.withLock { state in
            if state.budgets.isEmpty { state.budgets = [Budget](repeating: Budget(), count: TraceEvent.allCases.count) }
            let index = Int(event.rawValue)
            var leftOut: UInt64 = 0
            if state.budgets[index].second != second {
                leftOut = state.budgets[index].leftOut
                state.budgets[index] = Budget(second: second)
            }
            guard state.budgets[index].count < limit else {
                state.budgets[index].leftOut &+= 1
                state.leftOut &+= 1
                return (false, leftOut)
            }
            state.budgets[index].count &+= 1
            return (true, leftOut)
        }
        if leftOut > 0 { put("\(event.name): \(leftOut) more were left out", file, line) }
        return mayWrite
    }
}
