import LinuxSys
import Testing

@testable import MachineManager

/// Disks and network interfaces that come and go, as clients ask for them.
@Suite(.timeLimit(.minutes(1))) struct QMPHotplugTests {
    /// What Kata Containers sends, letter by letter: no id, no cache key, numbers as strings.
    @Test func kataPlugsAndUnplugsADisk() throws {
        let server = try TestServer(commandsPerSecond: 100)
        let client = try server.client()
        try client.negotiate()
        client.send(
            #"{"arguments":{"driver":"raw","file":{"aio":"native","driver":"file","filename":"/run/disk"},"node-name":"drive-1","read-only":false},"#
                + #""execute":"blockdev-add"}"# + "\n")
        #expect(try client.message() == ["return": [:]])
        client.send(
            #"{"arguments":{"addr":"1","drive":"drive-1","driver":"virtio-blk-mmio","id":"virtio-drive-1","num-queues":"4","share-rw":"on"},"#
                + #""execute":"device_add"}"# + "\n")
        #expect(try client.message() == ["return": [:]])
        var drive = VmConfig.Drive(id: "drive-1", file: "/run/disk")
        drive.asyncIO = .native
        #expect(server.machine.nodes == [drive])
        #expect(server.machine.requests == [.block(VmConfig.VirtioBlock(id: "virtio-drive-1", drive: "drive-1"), slot: 1)])
        client.send(#"{"arguments":{"id":"virtio-drive-1"},"execute":"device_del"}"# + "\n")
        #expect(try client.message() == ["return": [:]])
        let event = try client.message()
        #expect(event["event"] == "DEVICE_DELETED")
        #expect(event["data"] == ["device": "virtio-drive-1", "path": "/machine/peripheral/virtio-drive-1"])
        client.send(#"{"arguments":{"node-name":"drive-1"},"execute":"blockdev-del"}"# + "\n")
        #expect(try client.message() == ["return": [:]])
        #expect(server.machine.nodes.isEmpty && server.machine.requests.isEmpty)
    }

    /// The sessions of StratoVirt's documents: one id for both halves, no type, addresses in hexadecimal.
    @Test func documentedSessionsOfStratoVirt_workAsWritten() {
        let desk = Desk()
        let session = [
            ("blockdev-add", #"{"node-name":"drive-0","file":{"driver":"file","filename":"/path/to/block"},"cache":{"direct":true},"read-only":false}"#),
            ("device_add", #"{"id":"drive-0","driver":"virtio-blk-mmio","addr":"0x1"}"#),
            ("netdev_add", #"{"id":"net-0","ifname":"tap0"}"#),
            ("device_add", #"{"id":"net-0","driver":"virtio-net-mmio","addr":"0x0"}"#),
            ("device_del", #"{"id":"net-0"}"#), ("netdev_del", #"{"id":"net-0"}"#), ("device_del", #"{"id":"drive-0"}"#),
            ("blockdev-del", #"{"node-name":"drive-0"}"#),
        ]
        for (command, arguments) in session { #expect(desk.say(command, arguments) == "{}", "\(command)") }
        #expect(desk.machine.requests.isEmpty && desk.machine.nodes.isEmpty && desk.machine.netdevs.isEmpty)
    }

    @Test(arguments: [
        (#""file":{"driver":"file","filename":"/x"}"#, VmConfig.Drive.AsyncIO.automatic, true),
        (#""file":{"driver":"file","filename":"/x"},"cache":{"direct":false}"#, .automatic, false),
        (#""file":{"driver":"file","filename":"/x","aio":"threads"},"cache":{"direct":false,"no-flush":true}"#, .threads, false),
        (#""file":{"driver":"file","filename":"/x","aio":"io_uring"},"cache":{"direct":true},"backing":null"#, .ioUring, true),
        (#""file":{"driver":"file","filename":"/x","aio":"off"},"cache":{"direct":false}"#, .off, false),
    ])
    func blockdevAdd_asyncIOFollowsTheCache(_ arguments: String, _ engine: VmConfig.Drive.AsyncIO, _ isDirect: Bool) {
        let desk = Desk()
        #expect(desk.say("blockdev-add", "{\"node-name\":\"d\",\(arguments)}") == "{}")
        #expect(desk.machine.nodes.map(\.asyncIO) == [engine])
        #expect(desk.machine.nodes.map(\.isDirect) == [isDirect])
    }

    @Test func blockdevAdd_passesOnWhatTheDriveOptionHas() {
        let desk = Desk()
        let arguments =
            #"{"node-name":"d","file":{"driver":"host_device","filename":"/dev/x,y"},"read-only":true,"discard":"unmap","detect-zeroes":"on","media":"disk","#
            + #""throttling.iops-total":500,"id":"x","options":"x"}"#
        #expect(desk.say("blockdev-add", arguments) == "{}")
        var drive = VmConfig.Drive(id: "d", file: "/dev/x,y")
        drive.isReadOnly = true
        drive.discards = true
        drive.zeroDetection = .on
        drive.throttle[.requestsTotal].average = 500
        #expect(desk.machine.nodes == [drive])
        #expect(desk.say("blockdev-add", arguments) == "GenericError: node 'd' is there already")
    }

    @Test func queries_tellOfNodesDevicesAndLinks() {
        let desk = Desk()
        _ = desk.say("blockdev-add", #"{"node-name":"d","file":{"driver":"file","filename":"/x"}}"#)
        _ = desk.say("device_add", #"{"id":"disk1","drive":"d","driver":"virtio-blk-mmio"}"#)
        _ = desk.say("netdev_add", #"{"id":"n","type":"tap","ifname":"tap0","vhost":true,"script":"no","downscript":"no","dnssearch":[]}"#)
        _ = desk.say("device_add", #"{"id":"nic1","netdev":"n","driver":"virtio-net-mmio","mq":"on","mac":"52:54:00:00:00:01"}"#)
        let node =
            #"{"file":"/x","node-name":"d","ro":false,"drv":"raw","backing_file_depth":0,"encrypted":false,"detect_zeroes":"off","bps":0,"bps_rd":0,"bps_wr":0,"#
            + #""iops":0,"iops_rd":0,"iops_wr":0,"image":{"filename":"/x","format":"raw","virtual-size":1073741824},"#
            + #""cache":{"writeback":true,"direct":true,"no-flush":false},"write_threshold":0,"aio":"io_uring"}"#
        #expect(
            desk.say("query-block")
                == #"[{"device":"d","qdev":"/machine/peripheral/disk1","type":"unknown","removable":false,"locked":false,"inserted":"# + node + "}]")
        #expect(desk.say("query-named-block-nodes") == "[\(node)]")
        #expect(desk.say("netlink_set", #"{"id":"n","up":false}"#) == "{}")
        #expect(desk.machine.state.withLock(\.links) == ["n": false])
        #expect(desk.say("netdev_replace", #"{"id":"n","ifname":"tap1"}"#) == "{}")
        #expect(desk.machine.state.withLock(\.replaced).map(\.id) == ["n"])
        #expect(desk.say("qom-get", #"{"path":"/machine/peripheral/nic1","property":"backend"}"#) == #""n""#)
        // A snapshot that is asked for and not made is an error, whatever format the image has.
        #expect(
            desk.say("blockdev-snapshot-internal-sync", #"{"device":"d","name":"s"}"#)
                == "GenericError: blockdev-snapshot-internal-sync: 'd' is a raw image, which holds no snapshots")
        #expect(
            desk.say("blockdev-snapshot-delete-internal-sync", #"{"device":"disk1","name":"s"}"#)
                == "GenericError: blockdev-snapshot-delete-internal-sync: 'disk1' is a raw image, which holds no snapshots")
        #expect(desk.say("block-commit", #"{"device":"d"}"#) == "GenericError: block-commit: 'd' is a raw image and has no backing image to commit to")
        #expect(desk.say("human-monitor-command", #"{"command-line":"info  snapshots"}"#) == #""There is no snapshot available.\r\n""#)
    }

    @Test(arguments: [
        (#""addr":{"type":"unix","path":"/run/p"},"reconnect":2"#, VmConfig.Netdev.Stream.Address.unix(path: "/run/p"), false, 2000 as UInt32),
        (#""addr":{"type":"unix","path":"/run/p"},"server":true"#, .unix(path: "/run/p"), true, 0),
        (#""addr":{"type":"inet","host":"::1","port":"80"},"server":false,"reconnect-ms":7"#, .inet(host: "::1", port: 80), false, 7),
        (#""addr":{"type":"inet","host":"127.0.0.1","port":80}"#, .inet(host: "127.0.0.1", port: 80), false, 0),
    ])
    func netdevAdd_ofTypeStream(_ arguments: String, _ address: VmConfig.Netdev.Stream.Address, _ isServer: Bool, _ reconnect: UInt32) {
        let desk = Desk()
        #expect(desk.say("netdev_add", "{\"id\":\"n\",\"type\":\"stream\",\(arguments)}") == "{}")
        var stream = VmConfig.Netdev.Stream(address: address)
        stream.isServer = isServer
        stream.reconnect = reconnect
        #expect(desk.machine.netdevs == [VmConfig.Netdev(id: "n", backend: .stream(stream))])
    }

    @Test(arguments: [
        (#""type":"stream""#, "'addr.type' is missing"),
        (#""type":"stream","addr":{"type":"unix"}"#, "'addr.path' is missing"),
        (#""type":"stream","addr":{"path":"p"}"#, "argument 'addr.type' is missing"),
        (#""type":"stream","addr":{"type":"unix","path":"p","port":1}"#, "'addr.port' does not go with 'addr.type' unix"),
        (#""type":"stream","addr":{"type":"fd","str":"none"}"#, "no descriptor is named 'none'"),
        (#""type":"stream","addr":{"type":"unix","path":"p"},"ifname":"t""#, "argument 'ifname' does not go with type stream"),
        (#""type":"tap","ifname":"t","server":true"#, "argument 'server' does not go with type tap"),
        (#""type":"stream","addr":{"type":"unix","path":"p"},"server":true,"reconnect":1"#, "'reconnect' and 'server' exclude each other"),
        (#""type":"stream","addr":{"type":"inet","host":"a","port":0}"#, "argument 'addr.port' must be a whole number from 1 to 65535, plain or as a string"),
    ])
    func netdevAdd_ofTypeStream_wrong(_ arguments: String, _ expected: String) {
        #expect(Desk().say("netdev_add", "{\"id\":\"n\",\(arguments)}") == "GenericError: netdev_add: \(expected)")
    }
}
