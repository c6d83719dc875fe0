import Glibc
@testable import LinuxSys
import Testing

/// Whether a call succeeded; outside the macro, which does not take `unsafe`.
private func call(_ result: Int32) -> Bool { result == 0 }

@Suite final class LogTests {
    private let folder: String
    private var log: String { folder + "/log" }

    init() throws {
        folder = "/tmp/linuxsys-log-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        #expect(call(unsafe mkdir(folder, 0o700)))
    }

    deinit {
        for name in ["log"] + (1...8).map({ "log\($0)" }) + ["link", "other"] { try? SysFile.remove(folder + "/" + name) }
        _ = unsafe rmdir(folder + "/log6")
        _ = unsafe rmdir(folder)
    }

    private func content(_ name: String) -> String? {
        guard let file = try? SysFile.open(folder + "/" + name, .readOnly) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 4096)
        guard let count = try? file.pread(into: &bytes, at: 0) else { return nil }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    private func line(_ text: String) -> [UInt8] { Array((text + "\n").utf8) }

    @Test func fullLog_isRenamedDownAChainOfSevenFiles() throws {
        let file = try LogFile(path: log, limit: 8)
        for number in 0..<10 { file.write(line("line \(number)"), day: LogTime.now().day) }
        #expect(content("log") == "line 9\n")
        for copy in 1...6 { #expect(content("log\(copy)") == "line \(9 - copy)\n") }
        #expect(content("log7") == nil)
    }

    @Test func linesThatFit_stayTogether_andAnOldLogGoesOn() throws {
        do { try LogFile(path: log, limit: 14).write(line("line 1"), day: LogTime.now().day) }
        let file = try LogFile(path: log, limit: 14)
        file.write(line("line 2"), day: LogTime.now().day)
        file.write(line("line 3"), day: LogTime.now().day)
        #expect(content("log1") == "line 1\nline 2\n" && content("log") == "line 3\n")
    }

    @Test func newDay_beginsANewFile_andClocksSetBackDoNot() throws {
        let file = try LogFile(path: log)
        let today = LogTime.now().day
        file.write(line("today"), day: today)
        file.write(line("tomorrow"), day: today + 1)
        file.write(line("late line"), day: today)
        #expect(content("log1") == "today\n" && content("log") == "tomorrow\nlate line\n")
    }

    @Test func logOfAnEarlierDay_isPutAsideAtTheFirstLine() throws {
        do { try LogFile(path: log).write(line("old"), day: LogTime.now().day) }
        var times = [timeval(tv_sec: 1_000_000_000, tv_usec: 0), timeval(tv_sec: 1_000_000_000, tv_usec: 0)]
        #expect(call(unsafe utimes(log, &times)))
        try LogFile(path: log).write(line("new"), day: LogTime.now().day)
        #expect(content("log1") == "old\n" && content("log") == "new\n")
    }

    @Test func renameThatFails_keepsTheOldFile() throws {
        #expect(call(unsafe mkdir(folder + "/log6", 0o700)))
        let file = try LogFile(path: log, limit: 8)
        for number in 0..<10 { file.write(line("line \(number)"), day: LogTime.now().day) }
        for copy in 1...5 { #expect(content("log\(copy)") == "line \(5 - copy)\n") }
        #expect(content("log") == "line 5\nline 6\nline 7\nline 8\nline 9\n")
    }

    @Test func fileInPlaceOfTheLog_isNotRenamed() throws {
        let file = try LogFile(path: log, limit: 8)
        file.write(line("line 1"), day: LogTime.now().day)
        #expect(call(unsafe rename(log, folder + "/other")))
        file.write(line("line 2"), day: LogTime.now().day)
        #expect(content("other") == "line 1\n" && content("log") == "line 2\n" && content("log1") == nil)
    }

    @Test func linkInPlaceOfTheLog_isNotFollowed() throws {
        let file = try LogFile(path: log, limit: 8)
        file.write(line("line 1"), day: LogTime.now().day)
        try SysFile.open(folder + "/other", [.writeOnly, .create]).writeAll(line("precious"))
        try SysFile.remove(log)
        #expect(call(unsafe symlink("other", log)))
        file.write(line("line 2"), day: LogTime.now().day)
        #expect(content("other") == "precious\n")
    }

    @Test func logBehindALink_isRotatedWhereItIs() throws {
        #expect(call(unsafe symlink("log", folder + "/link")))
        let file = try LogFile(path: folder + "/link", limit: 8)
        file.write(line("line 1"), day: LogTime.now().day)
        file.write(line("line 2"), day: LogTime.now().day)
        #expect(content("log1") == "line 1\n" && content("log") == "line 2\n")
        #expect(try SysFile.linkStatus(folder + "/link").kind == .other)
    }

    @Test func device_isNeverRenamed() throws {
        let file = try LogFile(path: "/dev/null", limit: 8)
        for _ in 0..<5 { file.write(line("into the void"), day: LogTime.now().day + 1) }
        #expect(try SysFile.linkStatus("/dev/null").kind == .characterDevice)
        #expect((try? SysFile.linkStatus("/dev/null1")) == nil)
    }

    @Test func fifoWithoutReader_isAnErrorNotAHang() {
        #expect(call(unsafe mkfifo(log, 0o600)))
        #expect(throws: Errno(ENXIO)) { _ = try LogFile(path: log) }
    }

    @Test func readerThatStopsReading_losesLinesButHoldsNobodyUp() throws {
        var ends: [Int32] = [-1, -1]
        #expect(call(unsafe pipe(&ends)))
        let reader = OwnedFD(adopting: ends[0]), writer = OwnedFD(adopting: ends[1])
        let stream = LogStream(descriptor: writer.raw)
        let begin = Clock.monotonicNanoseconds()
        for _ in 0..<1000 { stream.write([UInt8](repeating: 0x78, count: 1000)) }
        #expect(Clock.monotonicNanoseconds() - begin < 5_000_000_000)
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let kept = try reader.read(into: &bytes) / 1000
        stream.write(line("back"))
        let count = try reader.read(into: &bytes)
        let told = String(decoding: bytes.prefix(count), as: UTF8.self)
        #expect(told.contains(": \(1000 - kept) lines were lost: nobody read the log\n") && told.hasSuffix("back\n"), "\(told)")
    }

    @Test func hostileText_staysOneLineOfPlainCharacters() {
        let entry = String(decoding: Log.entry(head: "head: ", text: "a\nb\u{1b}[2J\u{7f}\u{9b}1mé\r"), as: UTF8.self)
        #expect(entry == "head: a b [2J \u{a0}1mé \n")
        let long = Log.entry(head: "head: ", text: String(repeating: "é", count: 1 << 20))
        #expect(long.count == Log.lineLimit)
        #expect(long.suffix(4) == Array("...\n".utf8)[...])
    }

    @Test func lateCharacter_isNotCutInTwo() {
        let text = String(repeating: "x", count: Log.lineLimit)
        #expect(Log.entry(head: "", text: text).count == Log.lineLimit)
    }

    @Test func time_hasTheFormOfTheLog() throws {
        _ = unsafe setenv("TZ", "UTC", 1)
        tzset()
        #expect(LogTime(seconds: 1_700_000_000, nanoseconds: 42).text == "2023-11-14T22:13:20.000000042")
        #expect(LogTime(seconds: 1_704_067_199).day + 1 <= LogTime(seconds: 1_704_067_200).day)
    }
}
