import Foundation
import LinuxSys
import Testing

@testable import MachineManager

@Suite(.timeLimit(.minutes(1))) struct QMPRateTests {
    /// How many of `count` commands at `now` are let through.
    private func taken(_ count: Int, _ rate: inout QMPRateLimit, at now: UInt64) -> Int {
        var taken = 0
        for _ in 0..<count where rate.take(at: now) { taken += 1 }
        return taken
    }

    @Test func bucket_letsASecondsWorthThroughAtOnce_andThenRefills() {
        var rate = QMPRateLimit(perSecond: 100)
        let start: UInt64 = 5_000_000_000
        let counts = [
            taken(150, &rate, at: start), taken(1, &rate, at: start + 9_999_999), taken(2, &rate, at: start + 10_000_000),
            taken(150, &rate, at: start + 3_600_000_000_000),
        ]
        #expect(counts == [100, 0, 1, 100])
        // A steady client of a hundred a second is never turned away.
        var steady = QMPRateLimit(perSecond: 100)
        var served = 0
        for index: UInt64 in 0..<10_000 { served += taken(1, &steady, at: index * 10_000_000) }
        #expect(served == 10_000)
    }

    @Test func bucket_survivesEveryClock() {
        var rate = QMPRateLimit(perSecond: 100)
        for now: UInt64 in [.max, 0, .max / 2, 1, .max] { _ = rate.take(at: now) }
        var unlimited = QMPRateLimit(perSecond: 0)
        var quick = QMPRateLimit(perSecond: .max)
        let counts = [taken(1000, &unlimited, at: 0), taken(1000, &quick, at: 0)]
        #expect(counts == [1000, 1000])
    }

    @Test func excess_isNotCarriedOut_andTheConnectionSurvives() throws {
        let server = try TestServer(commandsPerSecond: QMPRateLimit.standard)
        let client = try server.client()
        try client.negotiate()
        let start = Clock.monotonicNanoseconds()
        client.send(String(repeating: #"{"execute":"quit"}"#, count: 300))
        var (done, refused) = (0, 0)
        while done + refused < 300 {
            let message = try client.message()
            if message["return"] != nil { done += 1 }
            if let error = message["error"] {
                refused += 1
                #expect(error == ["class": "OperationThrottled", "desc": "quit: more than 100 commands a second; not carried out"])
            }
        }
        let seconds = Double(Clock.monotonicNanoseconds() - start) / 1e9
        #expect(done >= 100 && Double(done) <= 101 + 100 * seconds)
        #expect(server.machine.quits == done)
        usleep(50_000)
        client.send(#"{"execute":"query-status","id":"later"}"#)
        var last = try client.message()
        while last["id"] != "later" { last = try client.message() }
        #expect(last["return"] != nil)
    }

    /// What is wrong is answered, and uses nothing up; a new connection does not bring new permissions; negotiating is always possible.
    @Test func limit_countsCommandsOfAnAddress() throws {
        let server = try TestServer(commandsPerSecond: QMPRateLimit.standard)
        do {
            let client = try server.client()
            try client.negotiate()
            client.send(String(repeating: #"{"execute":"nonsense"}"#, count: 200))
            for _ in 0..<200 { #expect(try client.error().first == "CommandNotFound") }
            client.send(String(repeating: #"{"execute":"query-version"}"#, count: 120))
            for _ in 0..<120 { _ = try client.message() }
        }
        for _ in 0..<200 { try server.client().negotiate() }
        // The other address has its own.
        let other = try TestClient(port: server.port)
        try other.negotiate()
        other.send(#"{"execute":"query-status"}"#)
        #expect(try other.message()["return"] != nil)
    }

    /// Clients that keep below the limit get a thousand answers.
    @Test func thousandCommands_pacedByTheClient_areAllCarriedOut() throws {
        let server = try TestServer(commandsPerSecond: QMPRateLimit.standard)
        let client = try server.client()
        try client.negotiate()
        for _ in 0..<400 {
            client.send(#"{"execute":"query-status"}"#)
            #expect(try client.message()["return"] != nil)
            usleep(10_500)
        }
    }
}
