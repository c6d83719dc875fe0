import LinuxSys
import Synchronization
import Testing

@testable import Devices

@Suite struct LogBackendTests {
    final class Entries: Sendable {
        private let state = Mutex<[String]>([])
        func add(_ text: String) { state.withLock { $0.append(text) } }
        var all: [String] { state.withLock { $0 } }
    }

    private func backend(_ entries: Entries, _ clock: FakeClock = FakeClock(seconds: 1), isEnabled: Bool = true) throws -> LogBackend {
        try LogBackend(id: "log0", now: { clock.now }, isEnabled: { isEnabled }, write: { entries.add($0) })
    }

    /// Sends as a device does, the loop on this thread.
    private func feed(_ bytes: [UInt8], to backend: LogBackend, _ loop: EventLoop) {
        var start = 0
        while start < bytes.count {
            start += backend.send(bytes.span.extracting(start..<bytes.count), .allowed)
            loop.runOnce(timeoutMilliseconds: 0)
        }
    }

    @Test func lines_becomeEntries_whereverTheyAreCut() throws {
        let entries = Entries()
        let backend = try backend(entries)
        let loop = try EventLoop()
        try backend.start(on: loop, client: FakeClient())
        for piece in ["first", " line\r\n", "\n\r\nsecond\nthi", "rd"] { feed(Array(piece.utf8), to: backend, loop) }
        #expect(entries.all == ["log0: first line", "log0: second"])
        for byte in " line\n".utf8 { #expect(backend.send(byte)) }
        loop.runOnce(timeoutMilliseconds: 0)
        #expect(entries.all.last == "log0: third line")
        feed(Array("last words".utf8), to: backend, loop)
        backend.stop()
        #expect(entries.all.last == "log0: last words")
        #expect(throws: Never.self) { backend.stop() }
    }

    @Test func controlBytes_driveNobodysTerminal() throws {
        let entries = Entries()
        let backend = try backend(entries)
        let loop = try EventLoop()
        try backend.start(on: loop, client: FakeClient())
        feed(Array("\u{1b}[31mred\u{7}\tünd\u{9b}2J\u{7f}\n".utf8) + [0xff, 0xc0, 0x41, 0x0a], to: backend, loop)
        #expect(entries.all == ["log0: .[31mred. ünd.2J.", "log0: \u{fffd}\u{fffd}A"])
    }

    @Test func endlessLine_isCutIntoPieces() throws {
        let entries = Entries()
        let backend = try backend(entries)
        let loop = try EventLoop()
        try backend.start(on: loop, client: FakeClient())
        feed([UInt8](repeating: 0x61, count: 1300), to: backend, loop)
        #expect(entries.all.map { $0.utf8.count - 6 } == [512, 512])
    }

    /// A guest must not fill the disk at will.
    @Test func flood_isLimited_andTheLogSaysSo() throws {
        let entries = Entries()
        let clock = FakeClock(seconds: 1)
        let backend = try backend(entries, clock)
        let loop = try EventLoop()
        try backend.start(on: loop, client: FakeClient())
        let line = [UInt8](repeating: 0x61, count: 99) + [0x0a]
        for _ in 0..<20_000 { feed(line, to: backend, loop) }
        let burst = entries.all.count
        #expect(burst == (256 << 10) / (99 + 96))
        #expect(backend.droppedBytes == UInt64(20_000 - burst) * 99)
        // Ten seconds later: what was left out, then as many lines as ten seconds earn.
        clock.advance(seconds: 10)
        for _ in 0..<1000 { feed(line, to: backend, loop) }
        #expect(entries.all[burst] == "log0: \(20_000 - burst) lines of the guest were left out, as they came too fast")
        #expect((190...211).contains(entries.all.count - burst))
        // A clock that stands still or goes on for ever earns no more than a burst.
        clock.advance(seconds: 1 << 30)
        let before = entries.all.count
        for _ in 0..<3000 { feed(line, to: backend, loop) }
        #expect((1300...1346).contains(entries.all.count - before))
    }

    @Test func logThatTakesNoInfo_takesNothing() throws {
        let entries = Entries()
        let backend = try backend(entries, isEnabled: false)
        let loop = try EventLoop()
        try backend.start(on: loop, client: FakeClient())
        for _ in 0..<10_000 { feed(Array("text\n".utf8), to: backend, loop) }
        #expect(entries.all.isEmpty)
        #expect(backend.droppedBytes == 0)
    }

    @Test func senderThatIsFasterThanTheLoop_waitsAndIsTold() throws {
        let entries = Entries()
        let backend = try backend(entries)
        let loop = try EventLoop()
        let client = FakeClient()
        try backend.start(on: loop, client: client)
        #expect(backend.send([UInt8](repeating: 0x61, count: 20_000).span, .never) == 16384)
        #expect(client.readied == 0)
        loop.runOnce(timeoutMilliseconds: 0)
        #expect(client.readied == 1)
        for _ in 0..<16384 - 16 { #expect(backend.send(0x62)) }
        #expect(!backend.send(0x62))
        loop.runOnce(timeoutMilliseconds: 0)
        #expect(client.readied == 2)
        #expect(throws: CharBackendError.alreadyStarted) { try backend.start(on: loop, client: client) }
    }

    @Test func factory_makesIt() throws {
        let backend = try CharBackends.make(.redirectToLog, id: "log0")
        #expect(backend.filename == "redirect-to-log")
        #expect(backend.terminalPath == nil)
        let pty = try CharBackends.make(.pty)
        #expect(pty.terminalPath?.hasPrefix("/dev/pts/") == true)
        #expect(pty.filename == "pty:\(pty.terminalPath ?? "")")
        let error = #expect(throws: CharBackendError.self) { try CharBackends.make(.file(path: "/nonexistent/x"), id: "f") }
        #expect(error?.description == "chardev 'f': cannot open '/nonexistent/x': No such file or directory")
    }
}
