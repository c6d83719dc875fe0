internal import CLinuxSys
internal import Glibc

/// A log in a file.
///
/// Before a line would make the file larger than 100 MiB, and at the first line of a new day, `log` becomes `log1`, `log1` becomes `log2` and so on up to
/// `log6`, which goes: seven files. They are renamed inside the directory that held the log when it was opened, whatever becomes of that directory's name.
/// When something cannot be renamed or made anew, the open file takes the lines.
///
/// Only a regular file is rotated: renaming /dev/null would be a disaster.
final class LogFile: @unchecked Sendable {
    static let sizeLimit: UInt64 = 100 << 20
    static let copies = 6

    // SAFETY of @unchecked Sendable: its owner calls `write` under a lock.
    private let file: OwnedFD
    private let limit: UInt64
    private var size: UInt64
    private var day: Int
    /// The directory, and the file's name in it; nil when the file is not rotated.
    private let directory: Directory?
    private let name: String
    /// For what is no regular file.
    private let stream: LogStream?

    /// For an optional owner.
    private final class Directory {
        let file: OwnedFD
        init(file: consuming OwnedFD) { self.file = file }
    }

    /// Opens or creates the file. A FIFO that nobody reads is ENXIO.
    init(path: String, limit: UInt64 = LogFile.sizeLimit) throws(Errno) {
        // Non-blocking: a FIFO must not hold up the start.
        file = try SysFile.open(path, [.writeOnly, .create, .append, .nonBlocking, .noControllingTerminal], mode: 0o640)
        let status = try SysFile.status(of: file)
        self.limit = limit
        size = status.size
        day = status.size > 0 ? LogTime(seconds: status.modified).day : LogTime.now().day
        guard status.kind == .regular else {
            directory = nil
            name = ""
            stream = LogStream(descriptor: file.raw)
            return
        }
        stream = nil
        // What is behind all symbolic links is renamed, not a link.
        let resolved = SysFile.resolve(path) ?? "/"
        let slash = resolved.lastIndex(of: "/") ?? resolved.startIndex
        directory = try? Directory(file: SysFile.open(String(resolved[...slash]), .readOnly))
        name = String(resolved[slash...].dropFirst())
    }

    /// Appends a line that was made on `day`.
    func write(_ line: [UInt8], day: Int) {
        if let stream { return stream.write(line) }
        // Not `!=`: another thread's line may be from the day before, and clocks are set back.
        let isNewDay = day > self.day
        if isNewDay || size &+ UInt64(line.count) > limit {
            self.day = max(day, self.day)
            if size > 0 { rotate() }
        }
        let result = unsafe line.withUnsafeBytes { unsafe sys_write(file.raw, $0.baseAddress, $0.count) }
        size &+= UInt64(max(0, result))
    }

    private func rotate() {
        // When this fails, the next try comes with the next day or after as many bytes again, not with every line.
        size = 0
        // Somebody else may have moved the file away, or put another one in its place: a log rotator, or a second process with this log.
        if namesOurFile(), !shift() { return }
        reopen()
    }

    private func namesOurFile() -> Bool {
        guard let directory = directory?.file.raw else { return false }
        var named = stat()
        guard unsafe sys_lstatat(directory, name, &named) >= 0, let ours = try? SysFile.status(of: file) else { return false }
        let there = FileStatus(named)
        return there.device == ours.device && there.inode == ours.inode
    }

    /// Renames the log and its copies; false when the log keeps its name.
    private func shift() -> Bool {
        guard let directory = directory?.file.raw else { return false }
        for copy in stride(from: Self.copies, to: 0, by: -1) {
            let from = copy == 1 ? name : "\(name)\(copy - 1)"
            let result = unsafe sys_renameat(directory, from, "\(name)\(copy)")
            if result < 0, result != -Int(ENOENT) { return false }
        }
        return true
    }

    /// Goes on in the file that has the log's name now, or in a new one. A link or anything else that is no file is not written to.
    private func reopen() {
        guard let directory = directory?.file.raw else { return }
        let flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
        let result = unsafe sys_openat(directory, name, flags, 0o640)
        guard result >= 0 else { return }
        let new = OwnedFD(adopting: Int32(truncatingIfNeeded: result))
        guard let status = try? SysFile.status(of: new), status.kind == .regular, sys_dup_onto(new.raw, file.raw) >= 0 else { return }
        size = status.size
    }
}
