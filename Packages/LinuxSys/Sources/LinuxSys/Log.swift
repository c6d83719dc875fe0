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

    /// Bytes of a line; a longer one is cut. PIPE_BUF, so that a pipe that is ready takes the whole line.
    static let lineLimit = 4096

    private static let threshold = Atomic<Int>(Level.warn.rawValue)
    private static let file = Mutex<LogFile?>(nil)
    private static let standardError = LogStream(descriptor: 2)

    /// Entries above `level` are dropped; standard error takes the rest.
    public static func configure(level: Level) {
        threshold.store(level.rawValue, ordering: .relaxed)
    }

    /// As `configure(level:)`, but the file at `path` takes the entries, after what it has already. A regular file is rotated: see `LogFile`.
    public static func configure(level: Level, path: String) throws(Errno) {
        let new = try LogFile(path: path)
        file.withLock { $0 = consume new }
        configure(level: level)
    }

    /// Whether a file takes the entries.
    public static var isFile: Bool { file.withLock { $0 != nil } }

    public static func isEnabled(_ level: Level) -> Bool { level.rawValue <= threshold.load(ordering: .relaxed) }

    public static func error(_ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) { write(.error, text, file, line) }
    public static func warn(_ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) { write(.warn, text, file, line) }
    public static func info(_ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) { write(.info, text, file, line) }
    public static func debug(_ text: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) { write(.debug, text, file, line) }

    private static func write(_ level: Level, _ text: () -> String, _ source: StaticString, _ line: UInt) {
        if isEnabled(level) { put(level, text(), source, line) }
    }

    /// Whatever the level.
    static func put(_ level: Level, _ text: String, _ source: StaticString, _ line: UInt) {
        let now = LogTime.now()
        let entry = Self.entry(head: "\(now.text): [\(getpid())][\(sys_gettid())][\(source):\(line)]:\(level.name): ", text: text)
        let isWritten = file.withLock { file in
            if file == nil { return false }
            file?.write(entry, day: now.day)
            return true
        }
        if !isWritten { standardError.write(entry) }
    }

    /// One line. Control characters become blanks: a newline inside would let a peer or guest forge entries, an escape sequence play with a terminal.
    static func entry(head: String, text: String) -> [UInt8] {
        var bytes = Array(head.utf8)
        var previous: UInt8 = 0
        for byte in text.utf8.prefix(lineLimit) {
            // U+0080 to U+009F are control characters as well: 0xc2, then 0x80 to 0x9f.
            let isControl = byte < 0x20 || byte == 0x7f
            bytes.append(isControl ? UInt8(ascii: " ") : previous == 0xc2 && byte < 0xa0 ? 0xa0 : byte)
            previous = byte
        }
        if bytes.count >= lineLimit { bytes.replaceSubrange((lineLimit - 4)..., with: "...".utf8) }
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }
}

/// A moment in local time.
struct LogTime {
    let text: String
    /// Grows from one day to the next.
    let day: Int

    static func now() -> LogTime {
        var now = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &now)
        return LogTime(seconds: now.tv_sec, nanoseconds: now.tv_nsec)
    }

    init(seconds: Int, nanoseconds: Int = 0) {
        var seconds = seconds
        var calendar = unsafe tm()
        _ = unsafe localtime_r(&seconds, &calendar)
        func padded(_ value: Int, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        let date = unsafe "\(padded(Int(calendar.tm_year) + 1900, 4))-\(padded(Int(calendar.tm_mon) + 1, 2))-\(padded(Int(calendar.tm_mday), 2))"
        let time = unsafe "\(padded(Int(calendar.tm_hour), 2)):\(padded(Int(calendar.tm_min), 2)):\(padded(Int(calendar.tm_sec), 2))"
        text = "\(date)T\(time).\(padded(nanoseconds, 9))"
        day = unsafe Int(calendar.tm_year) &* 366 &+ Int(calendar.tm_yday)
    }
}
