import Foundation
import LinuxSys
import Testing

/// `-netdev stream` of the whole program: what it says when the peer is not there, and what it leaves behind.
@Suite struct StreamTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("spin.bin", Payload().print("up").spin().bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
    }

    private static let start = ["-m", "128", "-kernel", "spin.bin", "-drive", "file=disk.img,id=d,direct=off", "-device", "virtio-blk-device,drive=d",
                                "-qmp", "unix:q.sock,server,nowait", "-serial", "stdio"]

    private func words(_ netdev: String, id: String = "n") -> [String] { ["-netdev", "stream,id=\(id),\(netdev)", "-device", "virtio-net-device,netdev=\(id)"] }

    private func running(_ more: [String]) throws -> Program {
        let program = try Program(Self.start + more, in: folder)
        try program.waitForOutput("up")
        return program
    }

    private func refuses(_ more: [String], _ message: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let before = folder.names
        let result = try Program.run(Self.start + more, in: folder)
        #expect(result.error == "stratovirt: \(message)\n", sourceLocation: sourceLocation)
        #expect(result.code == 1 && result.output == "" && folder.names == before, sourceLocation: sourceLocation)
    }

    @Test func aPeerThatIsNotThere_isNamed_andNothingIsLeft() throws {
        try refuses(words("addr.type=unix,addr.path=none.sock"), "-netdev n: cannot connect to 'none.sock': No such file or directory")
        try refuses(words("addr.type=inet,addr.host=127.0.0.1,addr.port=1"), "-netdev n: cannot connect to 127.0.0.1:1: Connection refused")
        try refuses(words("addr.type=unix,addr.path=disk.img,server=on"), "-netdev n: cannot listen on 'disk.img': Address already in use")
        // The socket of the first goes with the second's failure.
        try refuses(words("addr.type=unix,addr.path=a.sock,server=on", id: "a") + words("addr.type=unix,addr.path=b.sock", id: "b"),
                    "-netdev b: cannot connect to 'b.sock': No such file or directory")
    }

    @Test func descriptors_areCheckedByWhatTheyAre() throws {
        let line = Self.start.joined(separator: " ") + " " + words("addr.type=fd,addr.str=7").joined(separator: " ")
        func result(_ redirection: String) throws -> Program.Result {
            try Program(["-c", "exec '\(try Program.path)' \(line) \(redirection)"], executable: "/bin/sh", in: folder).wait()
        }
        let file = try result("7</dev/null")
        #expect(file.code == 1 && file.error == "stratovirt: -netdev n: descriptor 7 is not a stream socket that can be used: Socket operation on non-socket\n")
        let closed = try result("7<&-")
        #expect(closed.code == 1 && closed.error == "stratovirt: -netdev n: descriptor 7 was not open when the program started\n")
    }

    @Test func server_isOneFileOfItsOwner_whileTheProgramRuns() throws {
        let program = try running(words("addr.type=unix,addr.path=net.sock,server=on"))
        let mode = try FileManager.default.attributesOfItem(atPath: folder.path("net.sock"))[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        try client.must("qmp_capabilities")
        for _ in 0..<2 {
            do {
                let peer = try RawPeer(path: folder.path("net.sock"))
                let event = try client.event("NETDEV_STREAM_CONNECTED")
                #expect(event["netdev-id"] as? String == "n")
                #expect((event["addr"] as? QMPClient.Message)?["path"] as? String == "net.sock")
                peer.push([0xff, 0xff, 0xff, 0xff])
            }
            #expect(try client.event("NETDEV_STREAM_DISCONNECTED")["netdev-id"] as? String == "n")
        }
        program.signal(SIGTERM)
        #expect(try program.wait().code == 0)
        #expect(!folder.names.contains("net.sock"))
    }

    @Test func client_isConnectedWhenItsPeerComes() throws {
        let program = try running(words("addr.type=unix,addr.path=late.sock,reconnect-ms=20"))
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        try client.must("qmp_capabilities")
        for _ in 0..<2 {
            let listener = try StreamSocket.listen(path: folder.path("late.sock"))
            #expect(try client.event("NETDEV_STREAM_CONNECTED")["netdev-id"] as? String == "n")
            try SysFile.remove(folder.path("late.sock"))
            do { _ = try StreamSocket.accept(listener) }
            #expect(try client.event("NETDEV_STREAM_DISCONNECTED")["netdev-id"] as? String == "n")
        }
        #expect(program.isRunning)
    }
}
