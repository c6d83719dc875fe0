import Foundation
import LinuxSys
import Testing

@testable import MachineManager

/// How clients come, go and misbehave.
@Suite(.timeLimit(.minutes(2))) struct QMPConnectionTests {
    @Test func severalCommands_inOnePacket_areAnsweredInOrder_eachBeforeItsEvent() throws {
        let server = try TestServer()
        for isUnix in [true, false] {
            let client = try isUnix ? server.client() : TestClient(port: server.port)
            try client.negotiate()
            client.send(#"{"execute":"stop","id":1}{"execute":"cont","id":2} {"execute":"query-status","id":3}"# + "\n" + #"{"execute":"quit","id":4}"#)
            #expect(try client.message() == ["return": [:], "id": 1])
            #expect(try client.event() == "STOP")
            #expect(try client.message() == ["return": [:], "id": 2])
            #expect(try client.event() == "RESUME")
            #expect(try client.message()["id"] == 3)
            #expect(try client.message() == ["return": [:], "id": 4])
            #expect(try client.event() == "SHUTDOWN")
        }
    }

    @Test func command_inPiecesOfOneByte_isAnswered() throws {
        let server = try TestServer()
        let client = try server.client()
        _ = client.line()
        for byte in Array(#"{"execute":"query-status","id":"é"}"#.utf8) {
            client.send([byte])
            usleep(500)
        }
        #expect(try client.message()["id"] == "é")
    }

    @Test func events_waitForTheFirstAnswer() throws {
        let server = try TestServer()
        let client = try server.client()
        _ = client.line()
        server.server.emit(.powerdown)
        client.setTimeout(seconds: 0, microseconds: 100_000)
        #expect(client.line() == nil)
        client.setTimeout(seconds: 10)
        client.send("{\"execute\":\"qmp_capabilities\"}")
        #expect(try client.message() == ["return": [:]])
        #expect(try client.event() == "POWERDOWN")
    }

    @Test func events_reachEveryListener_andOnlyWhoIsConnected() throws {
        let server = try TestServer()
        server.server.emit(.powerdown)
        usleep(50_000)
        let clients = [try server.client(), try TestClient(port: server.port)]
        for client in clients { try client.negotiate() }
        server.server.emit(.stop)
        for client in clients { #expect(try client.event() == "STOP") }
    }

    @Test func client_canReconnectAnyNumberOfTimes() throws {
        let server = try TestServer()
        for _ in 0..<500 {
            try server.client().negotiate()
            try TestClient(port: server.port).negotiate()
        }
    }

    @Test func secondClient_waitsUntilTheFirstHangsUp() throws {
        let server = try TestServer()
        var first: TestClient? = try server.client()
        try first?.negotiate()
        let second = try server.client()
        second.setTimeout(seconds: 0, microseconds: 100_000)
        #expect(second.line() == nil)
        first = nil
        second.setTimeout(seconds: 10)
        try second.negotiate()
    }

    @Test func hangUp_afterAnyByte_leavesTheServerWorking() throws {
        let server = try TestServer()
        let command = Array(#"{"execute":"query-status","arguments":{},"id":[1,"\u00e9"]}"#.utf8)
        for count in 0...command.count {
            for client in [try server.client(), try TestClient(port: server.port)] { client.send(Array(command[..<count])) }
        }
        try server.client().negotiate()
        try TestClient(port: server.port).negotiate()
    }

    @Test func halfClosedClient_stillGetsItsAnswers() throws {
        let server = try TestServer()
        let client = try server.client()
        client.send(#"{"execute":"query-status"}{"execute":"stop"}"#)
        client.finishSending()
        #expect(try client.message()["QMP"] != nil)
        #expect(try client.message()["return"] != nil)
        #expect(try client.message() == ["return": [:]])
        #expect(try client.event() == "STOP")
        #expect(client.line() == nil)
        try server.client().negotiate()
    }

    /// An event, too, hands the socket what waits; the requests that were read before it must not be forgotten then.
    @Test func requestsReadWhileTheOutputWasFull_areServedAlthoughTheClientSendsNothingMore() throws {
        var pair: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
        let socket = OwnedFD(adopting: pair[0])
        let peer = OwnedFD(adopting: pair[1])
        try socket.setNonBlocking(true)
        try peer.setNonBlocking(true)
        var connection = QMPConnection(socket)
        try peer.writeAll(Array("1 2 ".utf8))
        var mayRead = true
        guard case .input(.value(1)) = connection.next(mayRead: &mayRead) else { return #expect(Bool(false)) }
        connection.send(QMPReply(result: .success(.value(.string(String(repeating: "x", count: 1 << 20)))), id: nil))
        guard case .wait = connection.next(mayRead: &mayRead) else { return #expect(Bool(false)) }
        var received = [UInt8](repeating: 0, count: 1 << 16)
        for _ in 0..<1000 where !connection.isFlushed {
            connection.flush()
            while let count = try? peer.read(into: &received), count > 0 {}
        }
        let wanted = connection.wanted
        #expect(wanted == [.readable, .writable])
        guard case .input(.value(2)) = connection.next(mayRead: &mayRead) else { return #expect(Bool(false)) }
        guard case .wait = connection.next(mayRead: &mayRead) else { return #expect(Bool(false)) }
        let wantedAtLast = connection.wanted
        #expect(wantedAtLast == .readable)
    }

    @Test func clientThatNeverReads_isBounded_andHoldsUpNobody() throws {
        let server = try TestServer()
        server.machine.setCPUs(254)
        let greedy = try server.client()
        greedy.setTimeout(seconds: 0, microseconds: 300_000)
        let command = #"{"execute":"query-cpus"}"# + String(repeating: " ", count: 2000)
        let before = residentKiB()
        // 20000 answers would take 800 MB. The socket stops taking commands when the server stops reading them.
        let sent = greedy.send(String(repeating: command, count: 20_000))
        #expect(sent < 20_000 * command.utf8.count)
        for _ in 0..<2000 { server.server.emit(.powerdown) }
        try TestClient(port: server.port).negotiate()
        #expect(residentKiB() - before < 64 << 10)
        greedy.setTimeout(seconds: 10)
        _ = greedy.line()
        var answers = 0
        var events = 0
        while answers < sent / command.utf8.count {
            guard let line = greedy.line() else { break }
            if line.hasPrefix("{\"return\":[{\"CPU\":0,") { answers += 1 } else { events += 1 }
        }
        #expect(answers == sent / command.utf8.count)
        #expect(events <= QMPConnection.eventLimit)
    }

    @Test func eventFlood_fromManyThreads_losesTheOldest() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.negotiate()
        let sink = server.server
        let threads = try (0..<4).map { _ in
            try OSThread.start(name: "flood") { for _ in 0..<500 { sink.emit(.powerdown) } }
        }
        for thread in threads { thread.join() }
        server.server.emit(.stop)
        var seen = 0
        while let name = try client.event(), name != "STOP" { seen += 1 }
        #expect(seen >= QMPConnection.eventLimit - 1 && seen <= 2000)
    }

    @Test func garbage_ofAllBytes_isAnsweredAndSurvived() throws {
        let server = try TestServer()
        let client = try server.client()
        _ = client.line()
        var bytes: [UInt8] = []
        for byte in UInt8.min ... .max { bytes += [byte, byte, 0x7b, byte, 0x22, byte] }
        client.send(bytes + [0xff, 0x0a])
        client.send(#"{"execute":"query-status","id":"after"}"#)
        var message = try client.message()
        var errors = 0
        while message["id"] != "after" {
            #expect(message["error"] != nil)
            errors += 1
            message = try client.message()
        }
        #expect(errors > 0 && message["return"] != nil)
    }

    @Test func giantRequest_isRefusedOnce_andTheConnectionSurvives() throws {
        let server = try TestServer()
        let client = try server.client()
        _ = client.line()
        client.send("{\"execute\":\"" + String(repeating: "x", count: 1 << 20) + "\"}{\"execute\":\"query-status\"}")
        #expect(try client.error() == ["GenericError", "JSON parse error: longer than 65536 bytes"])
        #expect(try client.message()["return"] != nil)
    }

    @Test func flush_deliversWhatTheLoopLeft() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.negotiate()
        let silent = try TestClient(port: server.port)
        _ = silent.line()
        server.stopLoop()
        server.server.emit(.shutdown(.guestShutdown))
        #expect(server.server.flush(nanoseconds: 1_000_000_000))
        #expect(try client.event() == "SHUTDOWN")
        // At the end there is no first command to wait for.
        #expect(try silent.event() == "SHUTDOWN")
        server.server.close()
        #expect(client.line() == nil && silent.line() == nil)
    }

    @Test func flush_toAClientThatDoesNotRead_ends() throws {
        let server = try TestServer()
        server.machine.setCPUs(254)
        let client = try server.client()
        client.setTimeout(seconds: 0, microseconds: 200_000)
        client.send(String(repeating: #"{"execute":"query-cpus"}"#, count: 1000))
        // Until the socket is full, which holds far more than one answer: then nothing more comes.
        for _ in 0..<100 {
            let unread = client.unreadBytes
            usleep(300_000)
            if unread > 50_000, client.unreadBytes == unread { break }
        }
        server.stopLoop()
        let start = Clock.monotonicNanoseconds()
        #expect(!server.server.flush(nanoseconds: 50_000_000))
        #expect(Clock.monotonicNanoseconds() - start < 5_000_000_000)
    }
}
