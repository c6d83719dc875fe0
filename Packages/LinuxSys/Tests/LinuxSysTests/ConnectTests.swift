import Glibc
import LinuxSys
import Testing

@Suite struct ConnectTests {
    @Test func tcpConnection_isMadeWithoutWaiting() throws {
        let listener = try StreamSocket.listen(host: "127.0.0.1", port: 0)
        let client = try StreamSocket.beginConnect(host: "127.0.0.1", port: try StreamSocket.port(of: listener))
        #expect(try client.wait(for: .writable, nanoseconds: 10_000_000_000).contains(.writable))
        try client.connectionResult()
        client.tuneForConsole()
        _ = try client.send(Array("abc".utf8))
        let peer = try StreamSocket.accept(listener)
        #expect(try peer.wait(for: .readable, nanoseconds: 10_000_000_000).contains(.readable))
        var bytes = [UInt8](repeating: 0, count: 16)
        #expect(try peer.read(into: &bytes, limit: 2) == 2)
        #expect(Array(bytes.prefix(3)) == [0x61, 0x62, 0])
        #expect(try peer.read(into: &bytes, limit: 100) == 1)
    }

    @Test func refusedConnection_isTold() throws {
        let port: UInt16
        do {
            let listener = try StreamSocket.listen(host: "127.0.0.1", port: 0)
            port = try StreamSocket.port(of: listener)
        }
        let client = try StreamSocket.beginConnect(host: "127.0.0.1", port: port)
        _ = try client.wait(for: .writable, nanoseconds: 10_000_000_000)
        #expect(throws: Errno.connectionRefused) { try client.connectionResult() }
    }

    @Test func hostName_isRefused() {
        #expect(throws: Errno.invalid) { _ = try StreamSocket.beginConnect(host: "localhost", port: 1) }
        #expect(throws: Errno.invalid) { _ = try StreamSocket.beginConnect(host: "127.0.0.1\0", port: 1) }
    }

    @Test func timer_expiresOnceAndCanBeStopped() throws {
        let timer = try TimerFD()
        #expect(!timer.drain())
        timer.arm(nanoseconds: 0)
        var expired = false
        for _ in 0..<1000 where !expired {
            Clock.sleep(nanoseconds: 1_000_000)
            expired = timer.drain()
        }
        #expect(expired)
        #expect(!timer.drain())
        timer.arm(nanoseconds: 1_000_000)
        timer.disarm()
        Clock.sleep(nanoseconds: 5_000_000)
        #expect(!timer.drain())
    }
}
