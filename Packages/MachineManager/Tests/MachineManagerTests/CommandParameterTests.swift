import LinuxSys
import Testing

@testable import MachineManager

/// The sentence that a command of QMP answers with; "accepted" when its arguments are right.
private func answer(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "accepted"
    } catch {
        return "\(error)"
    }
}

/// QMP commands go through the rules of the options, with their own names in the messages.
@Suite struct CommandParameterTests {
    @Test func blockNode_likeADrive() throws {
        let drive = try VmConfig.Drive(
            command: "blockdev-add",
            [
                QMPParameter("id", name: "node-name", "d"), QMPParameter("file", name: "file.filename", "/tmp/a,b"),
                QMPParameter("aio", name: "file.aio", "native"), QMPParameter("readonly", name: "read-only", "on"),
                QMPParameter("direct", name: "cache.direct", nil),
            ])
        #expect(drive.id == "d" && drive.file == "/tmp/a,b" && drive.isReadOnly && drive.isDirect && drive.asyncIO == .native)
    }

    @Test(arguments: [
        (nil, "f", nil, nil, "blockdev-add: 'node-name' is missing"),
        ("d", nil, nil, nil, "blockdev-add: 'file.filename' is missing"),
        ("d", "", nil, nil, "blockdev-add: 'file.filename' needs a value"),
        ("d", "f\0g", nil, nil, "blockdev-add: 'file.filename' contains a NUL byte"),
        ("d", "f", "native", "off", "blockdev-add: 'file.aio' native needs 'cache.direct' on"),
        ("d", "f", "off", nil, "blockdev-add: 'file.aio' off needs 'cache.direct' off"),
        ("d", "f", "off", "off", "accepted"),
        ("d", "f", "posix", nil, "blockdev-add: 'file.aio' must be native, io_uring, threads or off, not 'posix'"),
        ("d", "f", nil, "maybe", "blockdev-add: 'cache.direct' must be on or off, not 'maybe'"),
        (String(repeating: "d", count: 256), "f", nil, nil, "blockdev-add: 'node-name' is longer than 255 bytes"),
    ] as [(String?, String?, String?, String?, String)])
    func blockNode_wrongValues(_ id: String?, _ file: String?, _ aio: String?, _ direct: String?, _ expected: String) {
        let arguments = [
            QMPParameter("id", name: "node-name", id), QMPParameter("file", name: "file.filename", file), QMPParameter("aio", name: "file.aio", aio),
            QMPParameter("direct", name: "cache.direct", direct),
        ]
        #expect(answer { _ = try VmConfig.Drive(command: "blockdev-add", arguments) } == expected)
    }

    @Test func blockNode_whatIsNotThereYet_isRefusedByItsName() {
        let arguments = [QMPParameter("id", "d"), QMPParameter("file", "f"), QMPParameter("format", name: "driver", "qcow2")]
        #expect(answer { _ = try VmConfig.Drive(command: "blockdev-add", arguments) } == "blockdev-add 'driver' qcow2: not supported yet")
    }

    @Test func netdev_descriptorsMayBeNames() throws {
        let netdev = try VmConfig.Netdev(command: "netdev_add", [QMPParameter("id", "n"), QMPParameter("fds", "tap-a:5:tap-b")])
        guard case .tap(let tap) = netdev.backend else { return }
        #expect(netdev.queues == 3 && tap.descriptors == [.name("tap-a"), .number(5), .name("tap-b")])
        let vhost = try VmConfig.Netdev(
            command: "netdev_add", [QMPParameter("id", "n"), QMPParameter("fd", "t"), QMPParameter("vhost", "on"), QMPParameter("vhostfd", "v")])
        guard case .tap(let tap) = vhost.backend else { return }
        #expect(tap.vhost && tap.vhostDescriptors == [.name("v")])
    }

    @Test(arguments: [
        (["id": "n"], "netdev_add: 'ifname', 'fd', 'fds' or 'path' is missing"),
        (["id": "n", "fd": "2"], "netdev_add: 'fd' must be the number of an open descriptor, at least 3, or the name of one, not '2'"),
        (["id": "n", "fd": String(repeating: "n", count: 256)],
         "netdev_add: 'fd' must be the number of an open descriptor, at least 3, or the name of one, not '\(String(repeating: "n", count: 80))...'"),
        (["id": "n", "fds": "a::b"], "netdev_add: 'fds' must be the number of an open descriptor, at least 3, or the name of one, not ''"),
        (["id": "n", "ifname": "t", "vhostfd": "v"], "netdev_add: 'vhostfd' needs 'vhost' on"),
        (["id": "n", "ifname": "t", "queues": "17"], "netdev_add: 'queues' must be a number from 1 to 16, not '17'"),
    ] as [([String: String], String)])
    func netdev_wrongValues(_ values: [String: String], _ expected: String) {
        let arguments = values.map { QMPParameter($0.key, $0.value) }
        #expect(answer { _ = try VmConfig.Netdev(command: "netdev_add", arguments) } == expected)
    }

    @Test func devices_likeThoseOfTheCommandLine() throws {
        let disk = try VmConfig.VirtioBlock(
            command: "device_add", [QMPParameter("id", "x"), QMPParameter("drive", "d"), QMPParameter("num-queues", "4"), QMPParameter("serial", "s")])
        #expect(disk.id == "x" && disk.drive == "d" && disk.serial == "s")
        let net = try VmConfig.VirtioNet(
            command: "device_add", [QMPParameter("netdev", "n"), QMPParameter("mac", "52:54:00:00:00:01"), QMPParameter("queue-size", "512")])
        #expect(net.id == "n" && net.mac == MACAddress(0x52, 0x54, 0, 0, 0, 1) && net.queueSize == 512)
        #expect(
            answer { _ = try VmConfig.VirtioNet(command: "device_add", [QMPParameter("netdev", "n"), QMPParameter("queue-size", "500")]) }
                == "device_add: 'queue-size' must be a power of two from 256 to 4096, not '500'")
        #expect(
            answer { _ = try VmConfig.VirtioBlock(command: "device_add", [QMPParameter("id", "x")]) } == "device_add: 'drive' is missing")
    }
}
