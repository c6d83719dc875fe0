import Foundation
import LinuxSys
import Synchronization
import Testing

@testable import Devices

@Suite(.serialized) struct SocketBackendTests {
    @Test func clients_oneAfterTheOther_areServed() throws {
        let (path, thread, backend, client) = try servedSocket()
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        for round in 0..<20 {
            let peer = try StreamSocket.connect(path: path)
            _ = try peer.send(Array("in \(round) ".utf8))
            eventually("input \(round)") { String(decoding: client.received, as: UTF8.self).hasSuffix("in \(round) ") }
            send("out \(round)", to: backend)
            #expect(readAll(peer, count: "out \(round)".utf8.count) == Array("out \(round)".utf8))
        }
        thread.end()
        backend.stop()
        backend.stop()
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func secondClient_waitsUntilTheFirstLeaves() throws {
        let (path, thread, backend, client) = try servedSocket()
        var first: OwnedFD? = try StreamSocket.connect(path: path)
        if let peer = first.take() {
            _ = try peer.send(Array("1".utf8))
            eventually("first") { client.received == Array("1".utf8) }
            let second = try StreamSocket.connect(path: path)
            _ = try second.send(Array("2".utf8))
            Clock.sleep(nanoseconds: 30_000_000)
            #expect(client.received == Array("1".utf8))
            _ = consume peer
            eventually("second") { client.received == Array("12".utf8) }
            _ = consume second
        }
        thread.end()
        backend.stop()
    }

    @Test func flood_withoutRoom_stopsReadingAndResumes() throws {
        let (path, thread, backend, client) = try servedSocket(room: 100)
        let peer = try StreamSocket.connect(path: path)
        let flood = [UInt8](repeating: 7, count: 1 << 20)
        var sent = 0
        for _ in 0..<200 { if let count = try? peer.send(flood) { sent += count } else { Clock.sleep(nanoseconds: 1_000_000) } }
        #expect(sent > 100)
        eventually("100 bytes") { client.received.count == 100 }
        Clock.sleep(nanoseconds: 20_000_000)
        #expect(client.received.count == 100)
        client.setRoom(50)
        backend.resumeReceiving()
        eventually("50 more") { client.received.count == 150 }
        #expect(client.state.withLock { $0.largest } <= 100)
        thread.end()
        backend.stop()
    }

    @Test func hangUp_withInputUnread_freesTheSocketForTheNext() throws {
        let (path, thread, backend, client) = try servedSocket(room: 4)
        do {
            let rude = try StreamSocket.connect(path: path)
            _ = try rude.send([UInt8](repeating: 1, count: 1000))
            eventually("four bytes") { client.received.count == 4 }
        }
        let next = try StreamSocket.connect(path: path)
        _ = try next.send([9])
        Clock.sleep(nanoseconds: 20_000_000)
        client.setRoom(4096)
        backend.resumeReceiving()
        eventually("the next client") { client.received.last == 9 }
        send("x", to: backend)
        #expect(readAll(next, count: 1) == Array("x".utf8))
        thread.end()
        backend.stop()
    }

    @Test func hangUp_afterInput_deliversTheRest() throws {
        let (path, thread, backend, client) = try servedSocket(room: 4)
        do {
            let brief = try StreamSocket.connect(path: path)
            _ = try brief.send([UInt8](repeating: 1, count: 1000))
            eventually("four bytes") { client.received.count == 4 }
        }
        Clock.sleep(nanoseconds: 20_000_000)
        client.setRoom(4096)
        backend.resumeReceiving()
        eventually("all of it") { client.received.count == 1000 }
        thread.end()
        backend.stop()
    }

    @Test func peerThatNeverReads_neverBlocksAndIsBounded() throws {
        let (path, thread, backend, client) = try servedSocket()
        let peer = try StreamSocket.connect(path: path)
        _ = try peer.send([1])
        eventually("connection") { client.received == [1] }
        let start = Clock.monotonicNanoseconds()
        for index in 0..<2_000_000 where !backend.send(UInt8(truncatingIfNeeded: index)) { Issue.record("not ready") }
        #expect(Clock.monotonicNanoseconds() - start < 20_000_000_000)
        #expect(backend.droppedBytes > 0)
        thread.end()
        backend.stop()
    }

    @Test func outputWithoutAClient_isDroppedAndCounted() throws {
        let (_, thread, backend, _) = try servedSocket()
        send("nobody", to: backend)
        #expect(backend.droppedBytes == 6)
        thread.end()
        backend.stop()
    }

    @Test func staleSocketFile_isReplaced_otherFilesAreNot() throws {
        let path = temporaryPath()
        do { _ = try StreamSocket.listen(path: path) }
        #expect(FileManager.default.fileExists(atPath: path))
        try SocketBackend(path: path).stop()
        #expect(!FileManager.default.fileExists(atPath: path))
        try Data("precious".utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: CharBackendError.cannotListen(path: path, .addressInUse)) { try SocketBackend(path: path) }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
        try FileManager.default.removeItem(atPath: path)
    }

    @Test func hangUps_atRandomMoments_areSurvived() throws {
        let (path, thread, backend, client) = try servedSocket(room: 1 << 30)
        for round in 0..<200 {
            let peer = try connect(path)
            if round % 2 == 0 { _ = try? peer.send([UInt8](repeating: UInt8(round), count: round * 10)) }
            for _ in 0..<round { _ = backend.send(0x20) }
        }
        let last = try connect(path)
        _ = try last.send(Array("last".utf8))
        eventually("the last one") { client.received.suffix(4) == Array("last".utf8)[...] }
        thread.end()
        backend.stop()
    }
}

@Suite(.serialized) struct PtyBackendTests {
    @Test func bytes_passUnchangedBothWays_withoutEcho() throws {
        let thread = try LoopThread()
        let backend = try PtyBackend()
        #expect(backend.path.hasPrefix("/dev/pts/"))
        let client = FakeClient()
        try backend.start(on: thread.loop, client: client)
        let bytes = (UInt8.min...UInt8.max).map { $0 }
        for byte in bytes { _ = backend.send(byte) }
        do {
            let terminal = try SysFile.open(backend.path, [.readWrite, .nonBlocking, .noControllingTerminal])
            #expect(readAll(terminal, count: 256) == bytes)
            _ = try terminal.write([3, 10, 13, 4])
            eventually("input") { client.received == [3, 10, 13, 4] }
        }
        // Closing and opening again is no hang-up.
        let again = try SysFile.open(backend.path, [.readWrite, .nonBlocking, .noControllingTerminal])
        _ = try again.write(Array("again".utf8))
        eventually("again") { client.received.suffix(5) == Array("again".utf8)[...] }
        thread.end()
        backend.stop()
    }

    @Test func nobodyReads_outputIsDropped() throws {
        let thread = try LoopThread()
        let backend = try PtyBackend()
        let client = FakeClient()
        try backend.start(on: thread.loop, client: client)
        for _ in 0..<500_000 { _ = backend.send(0x41) }
        #expect(backend.droppedBytes > 0)
        #expect(client.received.isEmpty)
        thread.end()
        backend.stop()
    }
}

extension PtyBackendTests {
    @Test func nobodyReads_bulkOutputWaitsAWhileAndIsDropped_alsoOfAPortThatMayLoseNothing() throws {
        let thread = try LoopThread()
        let backend = try PtyBackend()
        try backend.start(on: thread.loop, client: FakeClient())
        sendAll([UInt8](repeating: 0x41, count: 200_000), to: backend, .never)
        #expect(backend.droppedBytes > 100_000)
        thread.end()
        backend.stop()
    }
}

@Suite(.serialized) struct FileBackendTests {
    @Test func output_isInTheFileAfterStop() throws {
        let path = temporaryPath()
        let thread = try LoopThread()
        let backend = try FileBackend(path: path)
        try backend.start(on: thread.loop, client: FakeClient())
        let text = String(repeating: "0123456789abcdef\n", count: 4000)
        for byte in text.utf8 where !backend.send(byte) { Clock.sleep(nanoseconds: 1_000_000) }
        thread.end()
        backend.stop()
        #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
        #expect(backend.droppedBytes == 0)
        try FileManager.default.removeItem(atPath: path)
    }

    @Test func fullDisk_losesOutputAndNothingElse() throws {
        let thread = try LoopThread()
        let backend = try FileBackend(path: "/dev/full")
        let client = FakeClient()
        try backend.start(on: thread.loop, client: client)
        for _ in 0..<100_000 { _ = backend.send(0x41) }
        eventually("drops") { backend.droppedBytes > 0 }
        thread.end()
        backend.stop()
    }

    @Test func badPaths_areNamedInTheError() {
        #expect(throws: CharBackendError.cannotOpen(path: "/nonexistent/x", .noEntry)) { try FileBackend(path: "/nonexistent/x") }
        #expect(CharBackendError.cannotOpen(path: "/x", .noEntry).description == "cannot open '/x': No such file or directory")
    }
}

/// The engine behind all backends, on pipes: what standard input and output are when they are no terminal.
@Suite(.serialized) struct CharStreamTests {
    private func pipePair() throws -> (read: Int32, write: Int32) {
        let pipe = Pipe()
        let read = OwnedFD(adopting: pipe.fileHandleForReading.fileDescriptor)
        let write = OwnedFD(adopting: pipe.fileHandleForWriting.fileDescriptor)
        let result = (try read.duplicate().take(), try write.duplicate().take())
        _ = read.take()
        _ = write.take()
        return result
    }

    @Test func endOfInput_leavesOutputWorking() throws {
        let thread = try LoopThread()
        let (inputRead, inputWrite) = try pipePair()
        let (outputRead, outputWrite) = try pipePair()
        let stream = try CharStream(patience: 1_000_000_000)
        let client = FakeClient()
        try stream.start(on: thread.loop, client: client)
        stream.attach(CharConnection(input: OwnedFD(adopting: inputRead), output: OwnedFD(adopting: outputWrite)))
        do {
            let writer = OwnedFD(adopting: inputWrite)
            try writer.writeAll(Array("piped".utf8))
        }
        eventually("input") { client.received == Array("piped".utf8) }
        Clock.sleep(nanoseconds: 10_000_000)
        for byte in "still here".utf8 { #expect(stream.send(byte)) }
        let reader = OwnedFD(adopting: outputRead)
        #expect(readAll(reader, count: 10) == Array("still here".utf8))
        thread.end()
        stream.stop()
    }

    @Test func slowReader_makesTheTransmitterBusy_thenLosesPatience() throws {
        let thread = try LoopThread()
        let (outputRead, outputWrite) = try pipePair()
        let output = OwnedFD(adopting: outputWrite)
        try output.setNonBlocking(true)
        let reader = OwnedFD(adopting: outputRead)
        let stream = try CharStream(patience: 100_000_000)
        let client = FakeClient()
        try stream.start(on: thread.loop, client: client)
        stream.attach(CharConnection(input: nil, output: output))
        // As the guest does it: on a busy transmitter it waits until it is told.
        var sent = 0
        var longestWait: UInt64 = 0
        while stream.droppedBytes == 0, sent < 1_000_000 {
            sent += 1
            let start = Clock.monotonicNanoseconds()
            if stream.send(UInt8(truncatingIfNeeded: sent)) { continue }
            eventually("ready") { client.state.withLock { state in
                defer { state.readied = 0 }
                return state.readied > 0
            } }
            longestWait = max(longestWait, Clock.monotonicNanoseconds() - start)
        }
        // What is no more than a page a pipe takes whole or not at all (pipe(7), PIPE_BUF), so that any two of its 16 pages hold at least one's worth.
        #expect(sent > 8 * 4096 + CharStream.outputCapacity, "the pipe was filled")
        #expect(stream.droppedBytes == 1)
        #expect(longestWait >= 50_000_000)
        // The reader comes back: everything before the loss is there, and the stream goes on.
        let bytes = readAll(reader, count: sent - 1)
        #expect(bytes == (1..<sent).map { UInt8(truncatingIfNeeded: $0) })
        for byte in "again".utf8 { #expect(stream.send(byte)) }
        #expect(readAll(reader, count: 5) == Array("again".utf8))
        thread.end()
        stream.stop()
    }

    @Test func readerGone_outputIsDroppedForGood() throws {
        let thread = try LoopThread()
        let (outputRead, outputWrite) = try pipePair()
        do { _ = OwnedFD(adopting: outputRead) }
        let stream = try CharStream(patience: 1_000_000_000)
        try stream.start(on: thread.loop, client: FakeClient())
        stream.attach(CharConnection(input: nil, output: OwnedFD(adopting: outputWrite)))
        for _ in 0..<100_000 { #expect(stream.send(0x41)) }
        eventually("drops") { stream.droppedBytes > 50_000 }
        thread.end()
        stream.stop()
    }

    @Test func sendersOnSeveralThreads_loseNothing() throws {
        let thread = try LoopThread()
        let (outputRead, outputWrite) = try pipePair()
        let reader = OwnedFD(adopting: outputRead)
        let stream = try CharStream(patience: 10_000_000_000)
        try stream.start(on: thread.loop, client: FakeClient())
        stream.attach(CharConnection(input: nil, output: OwnedFD(adopting: outputWrite)))
        let senders = try (0..<4).map { number in
            try OSThread.start(name: "sender") {
                for _ in 0..<5000 { while !stream.send(UInt8(number)) { Clock.sleep(nanoseconds: 100_000) } }
            }
        }
        let bytes = readAll(reader, count: 20000)
        for sender in senders { sender.join() }
        // `send` false means "taken, but no more": the sender above sends again, so there may be more, never fewer.
        for number in UInt8(0)..<4 { #expect(bytes.count { $0 == number } > 0) }
        #expect(bytes.count >= 20000)
        thread.end()
        stream.stop()
    }
}
