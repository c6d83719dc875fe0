import Foundation
import LinuxSys
import Testing

/// `-netdev vhost-user` of the whole program: what it says when nobody serves it, and the link of the guest as the switch comes and goes.
@Suite struct VhostUserTests {
    private let folder: TemporaryFolder

    /// Address and status of the network device, after six slots of disks and network.
    private static let watched: [UInt32] = [0xf010_0d00, 0xf010_0d04]

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("watch.bin", Payload().mapDevices().print("up").printWordsOnInput(at: Self.watched).bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
    }

    private static let start = ["-m", "128", "-kernel", "watch.bin", "-drive", "file=disk.img,id=d,direct=off", "-device", "virtio-blk-device,drive=d",
                                "-qmp", "unix:q.sock,server,nowait", "-serial", "stdio"]
    private static let network = ["-machine", "microvm,mem-share=on", "-chardev", "socket,id=c,path=switch.sock", "-netdev", "vhost-user,id=n,chardev=c",
                                  "-device", "virtio-net-device,netdev=n,id=n,mac=52:54:00:11:22:33"]

    /// A switch that has nothing but VIRTIO_F_VERSION_1 answers the program's first message, GET_FEATURES; it stays there as long as the result.
    private func serve(_ listener: borrowing OwnedFD) throws -> OwnedFD {
        var accepted: Int32 = -1
        try until("the program connects") {
            guard let socket = try? StreamSocket.accept(listener) else { return false }
            accepted = socket.take()
            return true
        }
        let socket = OwnedFD(adopting: accepted)
        var message = [UInt8](repeating: 0, count: 64)
        try until("the program asks") { (try? socket.read(into: &message)) == 12 }
        #expect(message.prefix(12) == [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
        _ = try socket.send([1, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0] + [0, 0, 0, 0, 1, 0, 0, 0])
        return socket
    }

    /// The guest's sight of the link.
    private func isLinkUp(_ program: Program) throws -> Bool {
        let before = program.outputBytes.count
        program.type("x")
        try until("the guest answers") { program.outputBytes.count >= before + 8 }
        let bytes = Array(program.outputBytes[before...])
        #expect(Array(bytes[..<6]) == [0x52, 0x54, 0, 0x11, 0x22, 0x33])
        return bytes[6] & 1 != 0
    }

    @Test func aSwitchThatIsNotThere_isNamed_andNothingIsLeft() throws {
        let before = folder.names
        let result = try Program.run(Self.start + Self.network, in: folder)
        #expect(result.error == "stratovirt: -netdev n: cannot connect to 'switch.sock': No such file or directory\n")
        #expect(result.code == 1 && result.output == "" && folder.names == before)
    }

    @Test func link_followsTheSwitchAndTheCommand() throws {
        let listener = try StreamSocket.listen(path: folder.path("switch.sock"))
        let program = try Program(Self.start + Self.network, in: folder)
        let client: QMPClient
        do {
            let peer = try serve(listener)
            try program.waitForOutput("up")
            client = try QMPClient.greeted(path: folder.path("q.sock"))
            #expect(try isLinkUp(program))
            try client.must("netlink_set", "{\"id\":\"n\",\"up\":false}")
            #expect(try !isLinkUp(program))
            try client.must("netlink_set", "{\"id\":\"n\",\"up\":true}")
            #expect(try isLinkUp(program))
            _ = peer.raw
        }
        try until("the link goes down with the switch") { try !isLinkUp(program) }
        let peer = try serve(listener)
        try until("the link comes up with the next one") { try isLinkUp(program) }
        #expect(ProcessFacts(id: program.processID).residentKiB <= 4096)
        program.signal(SIGTERM)
        #expect(try program.wait().code == 0)
        _ = peer.raw
    }

    @Test func typeVhostUser_isOfTheCommandLineOnly() throws {
        let listener = try StreamSocket.listen(path: folder.path("switch.sock"))
        let program = try Program(Self.start + Self.network, in: folder)
        let peer = try serve(listener)
        try program.waitForOutput("up")
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        let netdev = "{\"id\":\"m\",\"type\":\"vhost-user\",\"chardev\":\"c\"}"
        #expect(try client.refused("netdev_add", netdev) == "netdev_add 'type' vhost-user: not supported yet")
        #expect(try client.refused("netdev_replace", "{\"id\":\"n\",\"ifname\":\"tap0\"}") == "the netdev 'n' is of type vhost-user and cannot be replaced")
        #expect(try isLinkUp(program))
        _ = peer.raw
    }
}
