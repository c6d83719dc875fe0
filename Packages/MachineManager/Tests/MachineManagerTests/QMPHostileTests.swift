import Foundation
import LinuxSys
import Testing

@testable import MachineManager

/// Clients that mean no good. Whatever they send costs the machine nothing: the other address goes on working.
@Suite(.timeLimit(.minutes(2))) struct QMPHostileTests {
    private func works(_ server: TestServer) throws {
        let client = try TestClient(port: server.port)
        try client.negotiate()
        client.send(#"{"execute":"query-status"}"#)
        #expect(try client.message()["return"] != nil)
    }

    @Test(arguments: [
        (String(repeating: "[", count: 100_000), "nested deeper than 64 levels"),
        (String(repeating: #"{"a":"#, count: 100_000), "nested deeper than 64 levels"),
        (#"{"execute":"\#(String(repeating: "y", count: 70_000))"}"#, "longer than 65536 bytes"),
        ("[" + String(repeating: "1,", count: 5000) + "1]", "more than 2048 values"),
        ("{\"execute\":\"query-status\",\"id\":\(String(repeating: "9", count: 1000))}", "number out of range"),
        ("{\"execute\":\"que\u{0}ry\"}", "control character in a string"),
        (#"{"execute":"\ud800"}"#, "half of a surrogate pair in a string"),
        ("\u{0}", "unexpected byte 0x0"),
    ])
    func class7_textBeyondTheLimits_isRefusedOnce(_ text: String, _ reason: String) throws {
        let server = try TestServer()
        let client = try server.client()
        _ = client.line()
        client.send(text + "\n")
        #expect(try client.error() == ["GenericError", "JSON parse error: \(reason)"])
        client.send(#"{"execute":"query-status","id":"after"}"#)
        // The rest of what was broken may be broken, too.
        var message = try client.message()
        while message["id"] != "after" { message = try client.message() }
        #expect(message["return"] != nil)
        try works(server)
    }

    @Test func invalidUTF8_isRefused_alsoInNames() throws {
        let server = try TestServer()
        let client = try server.client()
        _ = client.line()
        for bytes: [UInt8] in [[0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82]] {
            client.send(Array(#"{"execute":"device_del","arguments":{"id":""#.utf8) + bytes + Array("\"}}".utf8))
            #expect(try client.error() == ["GenericError", "JSON parse error: invalid UTF-8 in a string"])
        }
        try works(server)
    }

    /// What an answer repeats of the client's text is short and on one line.
    @Test func longNames_areRepeatedInPart() throws {
        let desk = Desk()
        let long = String(repeating: "x", count: 60_000)
        for answer in [
            desk.say(long), desk.say("query-status", "{\"\(long)\":1}"), desk.say("human-monitor-command", "{\"command-line\":\"\(long.prefix(4000))\"}"),
            desk.say("qom-list", "{\"path\":\"/\(String(repeating: "/x", count: 2000))\"}"), desk.say("netdev_add", "{\"id\":\"n\",\"fds\":\"\(String(repeating: "a:", count: 2000))\"}"),
        ] { #expect(answer.utf8.count < 300, "\(answer.prefix(400))") }
    }

    @Test func class7_clientThatNeverReadsLongAnswers_isBounded() throws {
        let server = try TestServer()
        let before = residentKiB()
        let greedy = try server.client()
        greedy.setTimeout(seconds: 0, microseconds: 300_000)
        let command = #"{"execute":"query-qmp-schema"}"#
        greedy.send(String(repeating: command, count: 20_000))
        try works(server)
        #expect(residentKiB() - before < 16 << 10)
        // Those that were taken are answered whole.
        greedy.setTimeout(seconds: 10)
        _ = greedy.line()
        let first = try #require(greedy.line())
        #expect(first.hasPrefix(#"{"return":[{"name":"str""#) && first.hasSuffix("]}\r\n"))
        #expect(greedy.line() == first)
    }

    /// A slow reader's answer is not mixed with events.
    @Test func longAnswer_isNotInterruptedByEvents() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.negotiate()
        let sink = server.server
        let thread = try OSThread.start(name: "events") {
            for _ in 0..<2000 {
                sink.emit(.powerdown)
                usleep(100)
            }
        }
        for _ in 0..<50 {
            client.send(#"{"execute":"query-qmp-schema"}{"execute":"query-command-line-options"}"#)
            var answers = 0
            while answers < 2 {
                let line = try #require(client.line())
                var limits = JSONLimits()
                limits.length = 1 << 20
                limits.values = 1 << 16
                var reader = JSONReader(limits: limits)
                let events = line.utf8.compactMap { reader.push($0) }
                guard case .value(.object(let message))? = events.first, events.count == 1 else {
                    Issue.record("\(line.prefix(200))")
                    break
                }
                if message["return"] != nil { answers += 1 }
            }
        }
        thread.join()
    }

    @Test func thousandClients_comeAndGoAtEveryMoment() throws {
        let server = try TestServer()
        let session = #"{"execute":"qmp_capabilities"}{"execute":"query-qmp-schema"}{"execute":"getfd","arguments":{"fdname":"x"}}{"execute":"stop"}"#
        let steady = try TestClient(port: server.port)
        try steady.negotiate()
        for index in 0..<1000 {
            let client = try server.client()
            if index % 3 == 0 { _ = client.line() }
            let part = String(session.prefix(index % session.utf8.count))
            if index % 2 == 0, !part.isEmpty { try client.send(part, descriptors: [0]) } else { client.send(part) }
        }
        steady.send(#"{"execute":"query-status","id":"steady"}"#)
        var message = try steady.message()
        while message["id"] != "steady" { message = try steady.message() }
        #expect(message["return"] != nil)
        try server.client().negotiate()
        #expect(try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count < 500)
    }
}

/// Resident memory of this process.
func residentKiB() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
    return Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0
}
