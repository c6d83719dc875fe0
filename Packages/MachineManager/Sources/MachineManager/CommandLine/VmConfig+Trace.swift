public import LinuxSys

extension VmConfig {
    /// Trace events that the user wants from the start (`-trace`).
    public enum Trace: Equatable, Sendable {
        /// Matches at least one event.
        case pattern(String)
        case file(path: String)
        case events
        case scopes
    }
}

/// Why the events of `-trace` cannot be enabled.
public enum TraceError: Error, Equatable, Sendable, CustomStringConvertible {
    case cannotRead(path: String, Errno)
    /// More bytes than a list of patterns can sensibly have, or no text.
    case noList(path: String)

    public var description: String {
        switch self {
        case .cannotRead(let path, let error): "-trace: cannot read '\(path)': \(error)"
        case .noList(let path): "-trace: '\(path)' is no list of events"
        }
    }
}

extension VmConfig.Trace {
    private static let fileLimit = 64 << 10

    /// Enables them. Names in a file that are none here are passed over with a warning: the file may have been written for StratoVirt, which has other events.
    public func enable() throws(TraceError) {
        switch self {
        case .pattern(let pattern): LinuxSys.Trace.set(pattern, enabled: true)
        case .events: for event in TraceEvent.allCases where !event.isScope { LinuxSys.Trace.set(event, enabled: true) }
        case .scopes: for event in TraceEvent.allCases where event.isScope { LinuxSys.Trace.set(event, enabled: true) }
        case .file(let path):
            for line in try Self.lines(path) {
                // As in QEMU: a dash disables.
                let isOff = line.hasPrefix("-")
                let pattern = String(isOff ? line.dropFirst() : line)
                if LinuxSys.Trace.set(pattern, enabled: !isOff).isEmpty { Log.warn("-trace: there is no trace event \(quoted(pattern))") }
            }
        }
    }

    /// Without comments, which begin with #, and white space.
    private static func lines(_ path: String) throws(TraceError) -> [Substring] {
        var bytes = [UInt8](repeating: 0, count: fileLimit)
        let count: Int
        do throws(Errno) {
            // Non-blocking: a FIFO must not hold up the start.
            count = try SysFile.open(path, [.readOnly, .nonBlocking, .noControllingTerminal]).pread(into: &bytes, at: 0)
        } catch { throw .cannotRead(path: path, error) }
        guard count < fileLimit, let text = String(validating: bytes[..<count], as: UTF8.self), !text.utf8.contains(0) else { throw .noList(path: path) }
        return text.split(whereSeparator: \.isNewline).map { line in
            line.prefix { $0 != "#" }.drop { $0 == " " || $0 == "\t" }.prefix { $0 != " " && $0 != "\t" }
        }.filter { !$0.isEmpty }
    }
}

extension VmConfig.Trace {
    /// What one `-trace` says.
    static func list(_ list: ParameterList) throws(CommandLineError) -> [VmConfig.Trace] {
        var traces: [VmConfig.Trace] = []
        if let pattern = list.text("enable") {
            guard !LinuxSys.Trace.events(matching: pattern).isEmpty else { throw list.invalid("there is no trace event \(quoted(pattern))") }
            traces.append(.pattern(pattern))
        }
        for key in ["file", "events"] {
            if let path = list.text(key) { traces.append(.file(path: path)) }
        }
        switch list.text("type") {
        case "events": traces.append(.events)
        case "scopes": traces.append(.scopes)
        case "all": traces += [.events, .scopes]
        default: break
        }
        guard !traces.isEmpty else { throw list.invalid("needs a name, a file or a type") }
        return traces
    }
}
