import Foundation
import LinuxSys
import Synchronization
import Testing

@testable import Devices

/// TCP servers, clients, and what devices that send in bulk are told.
@Suite(.serialized) struct SocketChardevTests {
    private func connected(_ port: UInt16) throws -> OwnedFD {
        let peer = try StreamSocket.beginConnect(host: "127.0.0.1", port: port)
        _ = try peer.wait(for: .writable, nanoseconds: 10_000_000_000)
        try peer.connectionResult()
        return peer
    }

    /// Waits for a client to come.
    private func accepted(_ listener: borrowing OwnedFD) throws -> OwnedFD {
        #expect(try listener.wait(for: .readable, nanoseconds: 10_000_000_000).contains(.readable))
        return try StreamSocket.accept(listener)
    }

    @Test func tcpServer_servesOneClientAfterTheOther() throws {
        let thread = try LoopThread()
        let backend = try SocketBackend(listeningOn: .tcp(host: "127.0.0.1", port: 0))
        let client = FakeClient()
        try backend.start(on: thread.loop, client: client)
        #expect(backend.filename == "disconnected:tcp:127.0.0.1:0,server=on")
        for round in 1...5 {
            do {
                let peer = try connected(backend.port)
                eventually("connected \(round)") { client.state.withLock { $0.connections } == round }
                #expect(backend.filename == "tcp:127.0.0.1:0,server=on")
                _ = try peer.send([UInt8(round)])
                eventually("input \(round)") { client.received.last == UInt8(round) }
                send("out \(round)", to: backend)
                #expect(readAll(peer, count: 5) == Array("out \(round)".utf8))
            }
            eventually("disconnected \(round)") { client.state.withLock { $0.disconnections } == round }
        }
        thread.end()
        backend.stop()
    }

    @Test func tcpServer_onTheSameAddress_isRefusedByName() throws {
        let first = try SocketBackend(listeningOn: .tcp(host: "127.0.0.1", port: 0))
        let error = #expect(throws: CharBackendError.self) {
            try CharBackends.make(.socket(SocketSpec(.tcp(host: "127.0.0.1", port: first.port), isServer: true)), id: "con0")
        }
        #expect(error?.description == "chardev 'con0': cannot listen on 'tcp:127.0.0.1:\(first.port)': Address already in use")
        #expect(throws: CharBackendError.cannotListen(path: "tcp:nowhere:1", .invalid)) {
            try CharBackends.make(.socket(SocketSpec(.tcp(host: "nowhere", port: 1), isServer: true)))
        }
        #expect(SocketAddress.tcp(host: "::1", port: 80).description == "tcp:[::1]:80")
        first.stop()
    }

    @Test func client_thatFindsNobodyAtTheStart_isAnErrorNamingTheChardev() throws {
        let path = temporaryPath()
        let error = #expect(throws: CharBackendError.self) {
            try CharBackends.make(.socket(SocketSpec(.unix(path: path), isServer: false)), id: "con0")
        }
        #expect(error?.description == "chardev 'con0': cannot connect to '\(path)': No such file or directory")
        let port: UInt16
        do { port = try StreamSocket.port(of: try StreamSocket.listen(host: "127.0.0.1", port: 0)) }
        let refused = #expect(throws: CharBackendError.self) {
            try CharBackends.make(.socket(SocketSpec(.tcp(host: "127.0.0.1", port: port), isServer: false)), id: "con0")
        }
        #expect(refused?.description == "chardev 'con0': cannot connect to 'tcp:127.0.0.1:\(port)': Connection refused")
    }

    @Test func client_whosePeerHangsUp_comesBackEachTime() throws {
        let path = temporaryPath()
        let thread = try LoopThread()
        let unix = try StreamSocket.listen(path: path)
        let tcp = try StreamSocket.listen(host: "127.0.0.1", port: 0)
        for address in [SocketAddress.unix(path: path), .tcp(host: "127.0.0.1", port: try StreamSocket.port(of: tcp))] {
            let backend = try SocketClientBackend(connectingTo: address, id: "con0", interval: 20_000_000)
            #expect(backend.isConnected)
            #expect(backend.filename == address.description)
            let client = FakeClient()
            try backend.start(on: thread.loop, client: client)
            for round in 1...5 {
                do {
                    let peer: OwnedFD
                    if case .unix = address { peer = try accepted(unix) } else { peer = try accepted(tcp) }
                    _ = try peer.send([UInt8(round)])
                    eventually("input \(round)") { client.received.last == UInt8(round) }
                    send("out", to: backend)
                    #expect(readAll(peer, count: 3) == Array("out".utf8))
                }
                eventually("left \(round)") { client.state.withLock { $0.disconnections } == round }
            }
            eventually("the last connection") { backend.isConnected }
            #expect(client.state.withLock { $0.connections } == 5)
            backend.stop()
        }
        thread.end()
        try SysFile.remove(path)
    }

    @Test func client_whosePeerIsAwayForAWhile_findsItAgain() throws {
        let path = temporaryPath()
        let thread = try LoopThread()
        let client = FakeClient()
        let backend: SocketClientBackend
        do {
            let listener = try StreamSocket.listen(path: path)
            backend = try SocketClientBackend(connectingTo: .unix(path: path), id: "", interval: 10_000_000)
            try backend.start(on: thread.loop, client: client)
            _ = try accepted(listener)
        }
        eventually("gone") { !backend.isConnected }
        #expect(backend.filename == "disconnected:unix:\(path)")
        send("lost", to: backend)
        eventually("drops") { backend.droppedBytes >= 4 }
        Clock.sleep(nanoseconds: 50_000_000)
        try SysFile.remove(path)
        let listener = try StreamSocket.listen(path: path)
        let peer = try accepted(listener)
        eventually("back") { backend.isConnected }
        send("found", to: backend)
        #expect(readAll(peer, count: 5) == Array("found".utf8))
        backend.stop()
        thread.end()
        try SysFile.remove(path)
    }

    // MARK: Output in bulk

    @Test func bulk_toASlowReader_losesNothing() throws {
        let (path, thread, backend, _) = try servedSocket()
        let peer = try StreamSocket.connect(path: path)
        eventually("connected") { backend.isConnected }
        let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
        let sender = try OSThread.start(name: "sender") { sendAll(bytes, to: backend, .allowed) }
        var all: [UInt8] = []
        while all.count < bytes.count {
            let piece = readAll(peer, count: min(200_000, bytes.count - all.count))
            if piece.isEmpty { break }
            all += piece
            Clock.sleep(nanoseconds: 5_000_000)
        }
        sender.join()
        #expect(all == bytes)
        #expect(backend.droppedBytes == 0)
        thread.end()
        backend.stop()
    }

    @Test func bulkWithoutLoss_toAPeerThatNeverReads_waitsUntilItLeaves() throws {
        let (path, thread, backend, client) = try servedSocket()
        let block = [UInt8](repeating: 1, count: 8192)
        do {
            let peer = try StreamSocket.connect(path: path)
            eventually("connected") { backend.isConnected }
            var refusals = 0
            let end = Clock.monotonicNanoseconds() + 900_000_000
            while Clock.monotonicNanoseconds() < end {
                if backend.send(block.span, .never) < block.count { refusals += 1 }
                Clock.sleep(nanoseconds: 1_000_000)
            }
            #expect(refusals > 100)
            #expect(backend.droppedBytes == 0)
            #expect(client.readied < 50)
            client.state.withLock { $0.readied = 0 }
            _ = consume peer
        }
        eventually("told") { client.readied > 0 }
        #expect(backend.send(block.span, .never) == block.count)
        thread.end()
        backend.stop()
    }

    /// A guest's kernel may wait for its console with a processor and interrupts off.
    @Test func bulkWithLoss_toAPeerThatNeverReads_isDroppedAfterAWhileAndAtOnceFromThenOn() throws {
        let (path, thread, backend, _) = try servedSocket()
        let peer = try StreamSocket.connect(path: path)
        eventually("connected") { backend.isConnected }
        let bytes = [UInt8](repeating: 1, count: 1 << 20)
        let start = Clock.monotonicNanoseconds()
        sendAll(bytes, to: backend, .allowed)
        let patience = Clock.monotonicNanoseconds() - start
        #expect(patience >= 400_000_000)
        // Now all is taken at once.
        #expect(backend.send(bytes.span, .allowed) == bytes.count)
        #expect(backend.droppedBytes > 1 << 20)
        // The reader comes back: the stream goes on without loss.
        var rest: [UInt8] = []
        while true {
            var buffer = [UInt8](repeating: 0, count: 65536)
            do throws(Errno) { rest += buffer.prefix(try peer.read(into: &buffer)) } catch {
                Clock.sleep(nanoseconds: 20_000_000)
                if (try? peer.read(into: &buffer)) == nil { break }
            }
        }
        let before = backend.droppedBytes
        let sender = try OSThread.start(name: "sender") { sendAll([UInt8](repeating: 2, count: 500_000), to: backend, .allowed) }
        #expect(readAll(peer, count: 500_000).count == 500_000)
        sender.join()
        #expect(backend.droppedBytes == before)
        thread.end()
        backend.stop()
    }

    @Test func bulkWithoutAPeer_isDroppedAndCounted() throws {
        let (_, thread, backend, _) = try servedSocket()
        #expect(backend.send([UInt8](repeating: 0, count: 100_000).span, .never) == 100_000)
        #expect(backend.droppedBytes == 100_000)
        thread.end()
        backend.stop()
    }

    /// CVE-2020-27174 was a queue of input without a limit.
    @Test func class4_floodFromAServerThatWeConnectedTo_isBounded() throws {
        let path = temporaryPath()
        let thread = try LoopThread()
        let listener = try StreamSocket.listen(path: path)
        let backend = try SocketClientBackend(connectingTo: .unix(path: path), id: "", interval: 10_000_000)
        let client = FakeClient(room: 64)
        try backend.start(on: thread.loop, client: client)
        let peer = try accepted(listener)
        let flood = [UInt8](repeating: 7, count: 1 << 20)
        var sent = 0
        for _ in 0..<100 { if let count = try? peer.send(flood) { sent += count } else { Clock.sleep(nanoseconds: 1_000_000) } }
        eventually("64 bytes") { client.received.count == 64 }
        #expect(sent < 1 << 20)
        #expect(client.received.count == 64)
        backend.stop()
        thread.end()
        try SysFile.remove(path)
    }

    @Test func hangUpsAtRandomMoments_areTold_andSurvived() throws {
        let (path, thread, backend, client) = try servedSocket(room: 1 << 30)
        let block = [UInt8](repeating: 3, count: 997)
        for round in 0..<200 {
            let peer = try connect(path)
            if round % 3 == 0 { _ = try? peer.send([UInt8](repeating: UInt8(round), count: round * 10)) }
            for _ in 0..<round { _ = backend.send(block.span, round % 2 == 0 ? .allowed : .never) }
        }
        eventually("all have left") { !backend.isConnected && client.state.withLock { $0.connections == 200 && $0.disconnections == 200 } }
        thread.end()
        backend.stop()
    }
}
