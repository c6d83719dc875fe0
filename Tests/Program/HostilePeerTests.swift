import Foundation
import LinuxSys
import Testing

/// Clients of the monitor and of the serial socket that send garbage, halves or floods, never read, or hang up at any byte: the guest runs on, and another
/// monitor still answers.
@Suite(.serialized) struct HostilePeerTests {
    private let folder: TemporaryFolder
    private let program: Program
    private let hostile: String
    private let serial: String
    private let good: QMPClient

    init() throws {
        folder = try TemporaryFolder()
        hostile = folder.path("q.sock")
        serial = folder.path("s.sock")
        let kernel = try folder.write("payload.bin", Payload().chatter(".").bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
        program = try Program(["-m", "128", "-kernel", kernel, "-drive", "file=disk.img,id=d,direct=off", "-device", "virtio-blk-device,drive=d",
                               "-qmp", "unix:q.sock,server,nowait", "-chardev", "socket,id=m,path=m.sock,server,nowait", "-mon", "chardev=m,mode=control",
                               "-serial", "socket,path=s.sock,server,nowait", "-chardev", "socket,id=c,path=c.sock,server,nowait",
                               "-device", "virtio-serial-device", "-device", "virtconsole,chardev=c,nr=0"], in: folder)
        good = try QMPClient.greeted(path: folder.path("m.sock"))
    }

    /// The machine is as well as before.
    private func isWell(sourceLocation: SourceLocation = #_sourceLocation) throws {
        var status: String?
        try until("the other monitor answers") {
            let answer = try good.execute("query-status")
            status = (answer["return"] as? QMPClient.Message)?["status"] as? String
            // A flood on one connection is no reason to throttle another; but this one may ask too often itself.
            if status == nil { usleep(50_000) }
            return status != nil
        }
        #expect(status == "running", sourceLocation: sourceLocation)
        #expect(program.isRunning, sourceLocation: sourceLocation)
        // What only the start needed goes some milliseconds after it, and a peer may have been sooner: until then a little more is there, but nothing that grows.
        let facts = ProcessFacts(id: program.processID)
        let resident = facts.residentKiB
        #expect(resident > 0 && resident <= 5632, "\(resident) KiB", sourceLocation: sourceLocation)
        try until("\(facts.residentKiB) KiB are resident") { facts.residentKiB <= 4096 }
    }

    /// The guest's output goes on: a new client of the serial socket receives dots.
    private func guestRuns(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let peer = try RawPeer(path: serial)
        var dots = 0
        try until("the guest prints") {
            guard let bytes = peer.pull() else { throw Program.Failure(description: "the serial port hung up") }
            #expect(bytes.allSatisfy { $0 == 0x2e }, sourceLocation: sourceLocation)
            dots += bytes.count
            return dots > 100
        }
    }

    private static func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var state = seed
        return (0..<count).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
    }

    @Test func monitor_garbage() throws {
        for seed in 0..<20 as Range<UInt64> {
            let peer = try RawPeer(path: hostile)
            peer.push(Self.noise(16 << 10, seed: seed))
            _ = peer.pull()
        }
        try isWell()
        try guestRuns()
    }

    @Test func monitor_hangUpAtEveryByte() throws {
        let command = Array("{\"execute\":\"query-status\",\"id\":\"a\\u00e9\"}\r\n".utf8)
        for count in 0...command.count { try RawPeer(path: hostile).push(Array(command[..<count])) }
        try isWell()
        try guestRuns()
    }

    @Test func monitor_halfCommandThatNeverEnds_doesNotGrow() throws {
        let peer = try RawPeer(path: hostile)
        peer.push("{\"execute\":\"query-status\",\"id\":\"")
        let piece = [UInt8](repeating: 0x61, count: 1 << 20)
        for _ in 0..<32 { peer.push(piece) }
        try isWell()
        let nested = try RawPeer(path: folder.path("q.sock"))
        nested.push([UInt8](repeating: 0x5b, count: 4 << 20))
        try isWell()
        try guestRuns()
    }

    @Test func monitor_floodOfCommands_thatNobodyReads() throws {
        let peers = try (0..<4).map { _ in try RawPeer(path: hostile) }
        let commands = Array(String(repeating: "{\"execute\":\"query-commands\"}\n", count: 2_000).utf8)
        for peer in peers { peer.push(commands) }
        try isWell()
        try guestRuns()
    }

    @Test func monitor_moreConnectionsThanItTakes() throws {
        // One client is served, the backlog fills up, the rest are refused.
        var peers: [OwnedFDBox] = []
        for _ in 0..<300 {
            guard let socket = try? StreamSocket.connect(path: hostile) else { continue }
            peers.append(OwnedFDBox(socket))
        }
        #expect(peers.count < 300)
        try isWell()
        peers = []
        let client = try QMPClient.greeted(path: hostile)
        #expect(try client.execute("query-version")["return"] != nil)
        try isWell()
        try guestRuns()
    }

    @Test func monitor_clientsThatHangUpWithAnswersUnderWay() throws {
        for _ in 0..<50 { try RawPeer(path: hostile).push("{\"execute\":\"query-qmp-schema\"}{\"execute\":\"query-commands\"}") }
        try isWell()
    }

    @Test func serial_floodThatTheGuestNeverReads() throws {
        let peer = try RawPeer(path: serial)
        peer.push([UInt8](repeating: 0x78, count: 16 << 20), seconds: 1)
        try isWell()
    }

    @Test func serial_clientThatNeverReads_doesNotStopTheGuestForOthers() throws {
        var peer: RawPeer? = try RawPeer(path: serial)
        usleep(500_000)
        try isWell()
        _ = peer?.socket.raw
        peer = nil
        try guestRuns()
        try isWell()
    }

    @Test func serial_connectAndHangUpManyTimes() throws {
        for number in 0..<200 {
            guard let socket = try? StreamSocket.connect(path: serial) else { usleep(1_000); continue }
            if number.isMultiple(of: 2) { _ = try? socket.send(Self.noise(100, seed: UInt64(number))) }
        }
        try guestRuns()
        try isWell()
    }

    /// A guest without a driver never takes what comes in.
    @Test func console_floodsAndHangUps() throws {
        let path = folder.path("c.sock")
        try RawPeer(path: path).push([UInt8](repeating: 0x78, count: 16 << 20), seconds: 0.5)
        for number in 0..<100 {
            guard let socket = try? StreamSocket.connect(path: path) else { usleep(1_000); continue }
            if number.isMultiple(of: 3) { _ = try? socket.send(Self.noise(1000, seed: UInt64(number))) }
        }
        try isWell()
        try guestRuns()
    }

    @Test func everythingAtOnce_thenAQuietEnd() throws {
        let flood = try RawPeer(path: hostile), mute = try RawPeer(path: hostile), port = try RawPeer(path: serial)
        for round in 0..<20 {
            flood.push(Self.noise(4096, seed: UInt64(round)))
            mute.push("{\"execute\":\"query-commands\"}")
            port.push(Self.noise(4096, seed: UInt64(round) + 100))
        }
        try isWell()
        try good.send("{\"execute\":\"quit\"}")
        let result = try program.wait()
        #expect(result.code == 0 && result.error == "", "\(result)")
        #expect(!["q.sock", "m.sock", "s.sock"].contains { folder.names.contains($0) })
    }
}

/// A descriptor in a list.
private final class OwnedFDBox {
    let file: OwnedFD
    init(_ file: consuming OwnedFD) { self.file = file }
}
