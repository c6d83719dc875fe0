internal import CLinuxSys
internal import Glibc
internal import Synchronization

/// The process's log: one line an entry, `YYYY-MM-DDTHH:MM:SS.nnnnnnnnn: [pid][tid][file:line]:LEVEL: text`, local time. Any thread; not from signal
/// handlers, and not per request or exit: a line allocates.
public enum Log {
    public enum Level: Int, Comparable, Sendable {
        case error, warn, info, debug, trace

        public init?(_ name: String) {
            switch name.lowercased() {
            case "error": self = .error
            case "warn": self = .warn
            case "info": self = .info
            case "debug": self = .debug
            case "trace": self = .trace
            default: return nil
            }
        }

        public static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }

        var name: String {
            switch self {
            case .error: "ERROR"
            case .warn: "WARN"
            case .info: "INFO"
            case .debug: "DEBUG"
            case .trace: "TRACE"
            }
        }
    }

    private static let threshold = Atomic<Int>(Level.warn.rawValue)
    private static let descriptor = Atomic<Int32>(2)

    /// Entries above `level` are dropped. Standard error takes the rest unless `file` is given, which then belongs to the log.
    public static func configure(level: Level, file: consuming OwnedFD? = nil) {
        threshold.store(level.rawValue, ordering: .relaxed)
        if let file { descriptor.store(file.take(), ordering: .relaxed) }
    }

    public static func isEnabled(_ level: Level) -> Bool { level.rawValue <= threshold.load(ordering: .relaxed) }

    public static func error(_ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) { write(.error, text, file, line) }
    public static func warn(_ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) { write(.warn, text, file, line) }
    public static func info(_ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) { write(.info, text, file, line) }
    public static func debug(_ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) { write(.debug, text, file, line) }

    private static func write(_ level: Level, _ text: () -> String, _ file: StaticString, _ line: UInt) {
        guard isEnabled(level) else { return }
        // A newline inside would let a peer or guest forge entries.
        let oneLine = String(decoding: text().utf8.map { $0 < 0x20 || $0 == 0x7f ? UInt8(ascii: " ") : $0 }, as: UTF8.self)
        let entry = "\(timestamp()): [\(getpid())][\(sys_gettid())][\(file):\(line)]:\(level.name): \(oneLine)\n"
        let bytes = Array(entry.utf8)
        // One write an entry keeps entries of several threads whole. Nothing can be done for a log that cannot be written.
        _ = unsafe bytes.withUnsafeBytes { unsafe sys_write(descriptor.load(ordering: .relaxed), $0.baseAddress, $0.count) }
    }

    private static func timestamp() -> String {
        var now = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &now)
        var calendar = unsafe tm()
        _ = unsafe localtime_r(&now.tv_sec, &calendar)
        func padded(_ value: Int, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        let date = unsafe "\(padded(Int(calendar.tm_year) + 1900, 4))-\(padded(Int(calendar.tm_mon) + 1, 2))-\(padded(Int(calendar.tm_mday), 2))"
        let time = unsafe "\(padded(Int(calendar.tm_hour), 2)):\(padded(Int(calendar.tm_min), 2)):\(padded(Int(calendar.tm_sec), 2))"
        return "\(date)T\(time).\(padded(now.tv_nsec, 9))"
    }
}
