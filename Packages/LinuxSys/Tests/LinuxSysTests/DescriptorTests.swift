import Glibc
import LinuxSys
import Testing

@Suite struct DescriptorTests {
    private func path(_ name: String) -> String { "/tmp/linuxsys-\(getpid())-\(name)" }

    @Test func ownedDescriptor_isClosedWithItsOwner() throws {
        var number: Int32 = -1
        do {
            let file = try SysFile.open("/dev/null", .readOnly)
            number = file.raw
            #expect(fcntl(number, F_GETFD) & FD_CLOEXEC != 0)
        }
        #expect(fcntl(number, F_GETFD) == -1)
    }

    @Test func missingFile_saysSo() {
        #expect(throws: Errno.noEntry) { _ = try SysFile.open("/nonexistent/file", .readOnly).raw }
        #expect(Errno.noEntry.description == "No such file or directory")
    }

    @Test func pathWithNulByte_isRefusedRatherThanCut() {
        #expect(throws: Errno.invalid) { _ = try SysFile.open("/dev/null\0x", .readOnly).raw }
    }

    @Test func fileLock_excludesASecondOpenInTheSameProcess() throws {
        let path = path("lock")
        let first = try SysFile.open(path, [.readWrite, .create])
        defer { try? SysFile.remove(path) }
        let second = try SysFile.open(path, .readWrite)
        try first.lock(exclusive: true)
        #expect(throws: Errno.again) { try second.lock(exclusive: false) }
        try first.unlock()
        try second.lock(exclusive: false)
    }

    @Test func positionalRead_stopsAtTheEnd() throws {
        let path = path("pread")
        let file = try SysFile.open(path, [.readWrite, .create])
        defer { try? SysFile.remove(path) }
        try file.writeAll(Array(0..<100))
        var bytes = [UInt8](repeating: 0xff, count: 64)
        #expect(try file.pread(into: &bytes, at: 90) == 10)
        #expect(Array(bytes[0..<10]) == Array(90..<100))
        #expect(try SysFile.status(of: file).size == 100)
    }

    @Test func eventFD_countsAndDrains() throws {
        let event = try EventFD()
        #expect(event.drain() == 0)
        event.signal()
        event.signal()
        #expect(event.drain() == 2)
        #expect(event.drain() == 0)
    }

    @Test func anonymousMapping_isZeroAndWritable() throws {
        let mapping = try MemoryMapping.anonymous(size: 1 << 20)
        #expect(unsafe mapping.base.load(fromByteOffset: 4096, as: UInt64.self) == 0)
        unsafe mapping.base.storeBytes(of: 7, toByteOffset: 8, as: UInt64.self)
        #expect(unsafe mapping.base.load(fromByteOffset: 8, as: UInt64.self) == 7)
        #expect(throws: Errno.invalid) { _ = try MemoryMapping.anonymous(size: 0).size }
    }
}

@Suite struct SocketTests {
    private func path(_ name: String) -> String { "/tmp/linuxsys-\(getpid())-\(name).sock" }

    @Test func unixSocket_hasMode0600AndCarriesBytes() throws {
        let path = path("mode")
        let listener = try StreamSocket.listen(path: path)
        defer { try? SysFile.remove(path) }
        var status = stat()
        #expect(unsafe lstat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(throws: Errno.again) { _ = try StreamSocket.accept(listener).raw }
        let client = try StreamSocket.connect(path: path)
        let server = try StreamSocket.accept(listener)
        #expect(try client.send([1, 2, 3]) == 3)
        var bytes = [UInt8](repeating: 0, count: 8)
        #expect(try server.read(into: &bytes) == 3)
        #expect(Array(bytes[0..<3]) == [1, 2, 3])
    }

    @Test func peerThatHungUp_isAnErrorNotASignal() throws {
        let path = path("pipe")
        let listener = try StreamSocket.listen(path: path)
        defer { try? SysFile.remove(path) }
        let client = try StreamSocket.connect(path: path)
        do { _ = try StreamSocket.accept(listener).raw }
        #expect(throws: Errno.brokenPipe) { _ = try client.send([1]) }
    }

    @Test func staleSocket_isReplacedButALiveOneAndAFileStay() throws {
        let path = path("stale")
        do { _ = try StreamSocket.listen(path: path).raw }
        let live = try StreamSocket.listenReplacingStale(path: path)
        #expect(throws: Errno.addressInUse) { _ = try StreamSocket.listenReplacingStale(path: path).raw }
        _ = live.raw
        try SysFile.remove(path)
        do { try SysFile.open(path, [.readWrite, .create]).writeAll([1]) }
        defer { try? SysFile.remove(path) }
        #expect(throws: Errno.addressInUse) { _ = try StreamSocket.listenReplacingStale(path: path).raw }
        #expect(try SysFile.linkStatus(path).size == 1)
    }

    @Test func tooLongPath_isRefused() {
        #expect(throws: Errno.nameTooLong) { _ = try StreamSocket.listen(path: "/tmp/" + String(repeating: "x", count: 120)).raw }
    }

    @Test func tcpListener_onAnyPort_tellsItsPort() throws {
        let listener = try StreamSocket.listen(host: "127.0.0.1", port: 0)
        #expect(try StreamSocket.port(of: listener) > 0)
        #expect(throws: Errno.invalid) { _ = try StreamSocket.listen(host: "localhost", port: 0).raw }
    }
}

@Suite struct ThreadTests {
    @Test func thread_hasItsNameAndId() throws {
        let result = WaitWord()
        let thread = try OSThread.start(name: "CPU 0/KVM and more") {
            var bytes = [UInt8](repeating: 0, count: 32)
            let count = (try? SysFile.open("/proc/self/task/\(OSThread.currentID)/comm", .readOnly).read(into: &bytes)) ?? 0
            result.store(String(decoding: bytes.prefix(count), as: UTF8.self) == "CPU 0/KVM and m\n" ? 1 : 2)
        }
        thread.join()
        thread.join()
        #expect(result.value == 1)
        #expect(thread.id > 0)
        thread.signal(SIGTERM)
    }

    @Test func waitWord_wakesItsSleeper() throws {
        let word = WaitWord()
        let thread = try OSThread.start(name: "sleeper") { while word.value == 0 { word.wait(while: 0) } }
        word.store(1)
        word.wakeAll()
        thread.join()
        word.wait(while: 1, nanoseconds: 1_000_000)
        #expect(word.value == 1)
    }

    @Test func pseudoTerminal_rawModeIsUndone() throws {
        let pty = try PseudoTerminal()
        let other = try SysFile.open(pty.path, [.readWrite, .noControllingTerminal])
        var before = termios(), raw = termios(), after = termios()
        _ = unsafe tcgetattr(other.raw, &before)
        try Terminal.makeRaw(other.raw)
        _ = unsafe tcgetattr(other.raw, &raw)
        #expect(throws: (any Error).self) { try Terminal.makeRaw(pty.controller.raw) }
        Terminal.restore(other.raw)
        _ = unsafe tcgetattr(other.raw, &after)
        #expect(raw.c_lflag & tcflag_t(ICANON | ECHO | ISIG) == 0)
        #expect(after.c_lflag == before.c_lflag && after.c_iflag == before.c_iflag)
    }
}
