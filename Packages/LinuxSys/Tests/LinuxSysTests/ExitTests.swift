import CTestSupport
import Glibc
import LinuxSys
import Testing

@Suite struct ExitTests {
    private func path(_ name: String) -> String { "/tmp/linuxsys-\(getpid())-\(name)" }
    private func exists(_ path: String) -> Bool { (try? SysFile.linkStatus(path)) != nil }

    private func makeFile(_ path: String) throws { _ = try SysFile.open(path, [.writeOnly, .create]).raw }

    @Test func registeredFile_isRemoved_unlessAnotherIsInItsPlace() throws {
        let mine = path("mine"), replaced = path("replaced")
        try makeFile(mine)
        try makeFile(replaced)
        let first = try ExitActions.remove(path: mine), second = try ExitActions.remove(path: replaced)
        // Kept open, so that the new file cannot get its inode number.
        let old = try SysFile.open(replaced, .readOnly)
        try SysFile.remove(replaced)
        try makeFile(replaced)
        ExitActions.removeNow(first)
        ExitActions.removeNow(second)
        #expect(!exists(mine) && exists(replaced))
        _ = old.raw
        try SysFile.remove(replaced)
    }

    @Test func everySocketThatACommandLineCanName_isRegistered() throws {
        // 31 ports of a console, the serial port, two monitors, and the process id's file.
        let paths = (0..<35).map { path("many\($0)") }
        defer { for path in paths { try? SysFile.remove(path) } }
        let registered = try paths.map { path in
            try makeFile(path)
            return try ExitActions.remove(path: path)
        }
        for path in registered { ExitActions.removeNow(path) }
        #expect(!paths.contains(where: exists))
    }

    @Test func pathOfMoreThan4095Bytes_cannotBeRegistered() {
        let long = "/" + String(repeating: "x/", count: 2047) + "y"
        #expect(throws: Errno.nameTooLong) { _ = try ExitActions.remove(path: long) }
    }

    @Test func stackOverflow_stillRemovesFiles() throws {
        let path = path("overflow")
        try makeFile(path)
        let registered = try ExitActions.remove(path: path)
        #expect(test_signal_of_overflow { ExitActions.coverFatalSignals() } == SIGSEGV)
        #expect(!exists(path))
        ExitActions.removeNow(registered)
    }

    @Test func stackOverflowOfAThread_stillRemovesFiles() throws {
        let path = path("thread-overflow")
        try makeFile(path)
        let registered = try ExitActions.remove(path: path)
        #expect(test_signal_of_overflow {
            ExitActions.coverFatalSignals()
            guard let thread = try? OSThread.start(name: "deep", { _ = test_overflow(0) }) else { _exit(0) }
            thread.join()
            _exit(0)
        } == SIGSEGV)
        #expect(!exists(path))
        ExitActions.removeNow(registered)
    }

    @Test func pidFile_holdsTheProcessId_andIsPrivate() throws {
        let path = path("pid")
        try PIDFile.create(path: path)
        defer { try? SysFile.remove(path) }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = try SysFile.open(path, .readOnly).read(into: &bytes)
        #expect(String(decoding: bytes.prefix(count), as: UTF8.self) == String(getpid()))
        var status = stat()
        #expect(unsafe lstat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(throws: Errno.exists) { try PIDFile.create(path: path) }
    }

    @Test func pidFile_doesNotFollowADanglingLink() throws {
        let link = path("link"), target = path("target")
        _ = unsafe symlink(target, link)
        defer { try? SysFile.remove(link) }
        #expect(throws: Errno.exists) { try PIDFile.create(path: link) }
        #expect(!exists(target))
    }

    @Test func keptFile_staysAndItsPlaceIsFree() throws {
        let path = path("kept")
        try makeFile(path)
        // More often than there are places.
        for _ in 0..<200 {
            let registered = try ExitActions.remove(path: path)
            ExitActions.keep(registered)
            ExitActions.removeNow(registered)
        }
        #expect(exists(path))
        try SysFile.remove(path)
    }
}
