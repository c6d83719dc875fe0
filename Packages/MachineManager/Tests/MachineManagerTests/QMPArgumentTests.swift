import Testing

@testable import MachineManager

/// What each command refuses, and in which words.
@Suite struct QMPArgumentTests {
    private static let long = String(repeating: "x", count: 256)

    @Test(arguments: [
        // Missing.
        ("blockdev-add", "{}", "blockdev-add: argument 'node-name' is missing"),
        ("blockdev-add", #"{"node-name":"d"}"#, "blockdev-add: argument 'file' is missing"),
        ("blockdev-add", #"{"node-name":"d","file":{"driver":"file"}}"#, "blockdev-add: argument 'file.filename' is missing"),
        ("blockdev-add", #"{"node-name":"d","file":{"filename":"/x"}}"#, "blockdev-add: argument 'file.driver' is missing"),
        ("blockdev-del", "{}", "blockdev-del: argument 'node-name' is missing"),
        ("device_add", #"{"driver":"virtio-blk-mmio"}"#, "device_add: argument 'id' is missing"),
        ("device_add", #"{"id":"d"}"#, "device_add: argument 'driver' is missing"),
        ("device_del", "{}", "device_del: argument 'id' is missing"),
        ("netdev_add", #"{"type":"tap"}"#, "netdev_add: argument 'id' is missing"),
        ("netdev_add", #"{"id":"n"}"#, "netdev_add: 'ifname', 'fd', 'fds' or 'path' is missing"),
        ("netdev_add", #"{"id":"n","type":"tap"}"#, "netdev_add: 'ifname', 'fd', 'fds' or 'path' is missing"),
        ("netdev_del", "{}", "netdev_del: argument 'id' is missing"),
        ("netdev_replace", #"{"id":"n"}"#, "netdev_replace: argument 'ifname' or 'path' is missing"),
        ("netlink_set", #"{"id":"n"}"#, "netlink_set: argument 'up' is missing"),
        ("getfd", "{}", "getfd: argument 'fdname' is missing"),
        ("closefd", "{}", "closefd: argument 'fdname' is missing"),
        ("trace-get-state", "{}", "trace-get-state: argument 'name' is missing"),
        ("trace-set-state", #"{"name":"*"}"#, "trace-set-state: argument 'enable' is missing"),
        ("human-monitor-command", "{}", "human-monitor-command: argument 'command-line' is missing"),
        ("qom-list", "{}", "qom-list: argument 'path' is missing"),
        ("qom-get", #"{"path":"/"}"#, "qom-get: argument 'property' is missing"),
        ("device-list-properties", "{}", "device-list-properties: argument 'typename' is missing"),
        ("block-commit", "{}", "block-commit: argument 'device' is missing"),
        // Unknown, also inside others.
        ("query-status", #"{"x":1}"#, "query-status: unknown argument 'x'"),
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","colour":"red"}"#, "device_add: unknown argument 'colour'"),
        ("blockdev-add", #"{"node-name":"d","file":{"driver":"file","filename":"/x","locking":"off"}}"#, "blockdev-add: unknown argument 'file.locking'"),
        ("blockdev-add", #"{"node-name":"d","file":{"driver":"file","filename":"/x"},"cache":{"writeback":true}}"#,
         "blockdev-add: unknown argument 'cache.writeback'"),
        // Of a wrong type.
        ("blockdev-add", #"{"node-name":7}"#, "blockdev-add: argument 'node-name' must be a string"),
        ("blockdev-add", #"{"node-name":"d","file":"/x"}"#, "blockdev-add: argument 'file' must be an object"),
        ("blockdev-add", #"{"node-name":"d","file":{"driver":"nbd","filename":"/x"}}"#,
         "blockdev-add: argument 'file.driver' must be 'file' or 'host_device'"),
        ("blockdev-add", #"{"node-name":"d","read-only":"on","file":{"driver":"file","filename":"/x"}}"#,
         "blockdev-add: argument 'read-only' must be true or false"),
        ("blockdev-add", #"{"node-name":"d","driver":"vmdk","file":{"driver":"file","filename":"/x"}}"#,
         "blockdev-add: argument 'driver' must be 'raw' or 'qcow2'"),
        ("netlink_set", #"{"id":"n","up":"on"}"#, "netlink_set: argument 'up' must be true or false"),
        ("device_add", #"{"id":null,"driver":"virtio-blk-mmio"}"#, "device_add: argument 'id' must be a string"),
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","share-rw":"maybe"}"#,
         "device_add: argument 'share-rw' must be true, false, 'on' or 'off'"),
        ("qmp_capabilities", #"{"enable":[["oob"]]}"#, "qmp_capabilities: argument 'enable[]' must be a string"),
        ("trace-set-state", #"{"name":"*","enable":1}"#, "trace-set-state: argument 'enable' must be true or false"),
        ("block-commit", #"{"device":"d","speed":1.5}"#, "block-commit: argument 'speed' must be a whole number"),
        // Out of range.
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","addr":"4"}"#, "device_add: argument 'addr' must be a slot from 0 to 3, not 4"),
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","addr":"0x4"}"#, "device_add: argument 'addr' must be a slot from 0 to 3, not 4"),
        ("device_add", #"{"id":"n","driver":"virtio-net-mmio","addr":"2"}"#, "device_add: argument 'addr' must be a slot from 0 to 1, not 2"),
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","lun":3}"#, "device_add: argument 'lun' must be from 0 to 2, not 3"),
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","addr":"-1"}"#,
         "device_add: argument 'addr' must be a whole number from 0 to 255, plain or as a string"),
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","addr":"0x"}"#,
         "device_add: argument 'addr' must be a whole number from 0 to 255, plain or as a string"),
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","addr":1.5}"#,
         "device_add: argument 'addr' must be a whole number from 0 to 255, plain or as a string"),
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","num-queues":"33"}"#, "device_add: 'num-queues' must be a number from 1 to 32, not '33'"),
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","num-queues":99999999999999999999}"#,
         "device_add: argument 'num-queues' must be a whole number from 0 to 65535, plain or as a string"),
        ("device_add", #"{"id":"n","driver":"virtio-net-mmio","queue-size":300}"#,
         "device_add: 'queue-size' must be a power of two from 256 to 4096, not '300'"),
        ("device_add", #"{"id":"n","driver":"virtio-net-mmio","mac":"52:54:00"}"#,
         "device_add: 'mac' must be an address such as 52:54:00:12:34:56, not '52:54:00'"),
        ("device_add", #"{"id":"d","driver":"virtio-blk-mmio","serial":"123456789012345678901"}"#, "device_add: 'serial' is longer than 20 bytes"),
        ("blockdev-add", #"{"node-name":"d","file":{"driver":"file","filename":"/x"},"throttling.iops-total":1000001}"#,
         "blockdev-add: argument 'throttling.iops-total' must be a whole number from 0 to 1000000, plain or as a string"),
        ("netdev_add", #"{"id":"n","type":"tap","ifname":"t","queues":17}"#,
         "netdev_add: argument 'queues' must be a whole number from 1 to 16, plain or as a string"),
        ("netdev_add", #"{"id":"n","type":"tap","ifname":"sixteen-letters-"}"#,
         "netdev_add: 'ifname' must be the name of a network interface, of at most 15 bytes, not 'sixteen-letters-'"),
        ("blockdev-del", "{\"node-name\":\"\(long)\"}", "blockdev-del: argument 'node-name' must be a string of at most 255 bytes"),
        ("blockdev-del", #"{"node-name":"a\u0000b"}"#, "blockdev-del: argument 'node-name' must be a string without NUL characters"),
        // Together wrong.
        ("blockdev-add", #"{"node-name":"d","file":{"driver":"file","filename":"/x","aio":"native"},"cache":{"direct":false}}"#,
         "blockdev-add: 'file.aio' native needs 'cache.direct' on"),
        ("netdev_add", #"{"id":"n","type":"tap","ifname":"t","vhostfd":"9"}"#, "netdev_add: 'vhostfd' needs 'vhost' on"),
        ("netdev_add", #"{"id":"n","type":"tap","ifname":"t","chardev":"c"}"#,
         "netdev_add: argument 'chardev' goes with type vhost-user, not with tap"),
        ("blockdev-add", #"{"node-name":"d","file":{"driver":"file","filename":"/x"},"backing":"base"}"#,
         "blockdev-add: a raw image has no backing image"),
        // What this version does not do.
        ("blockdev-add", #"{"node-name":"d","driver":"qcow2","file":{"driver":"file","filename":"/x"}}"#,
         "blockdev-add 'driver' qcow2: not supported yet"),
        ("netdev_add", #"{"id":"n","type":"vhost-user"}"#, "netdev_add 'type' vhost-user: not supported yet"),
        ("device_add", #"{"id":"d","driver":"vfio-pci"}"#,
         "device_add: 'vfio-pci' cannot be plugged into a microvm; virtio-blk-mmio, virtio-blk-device, virtio-net-mmio and virtio-net-device can"),
        ("human-monitor-command", #"{"command-line":"info registers"}"#,
         "human-monitor-command: unknown command 'info registers'; only 'info snapshots' is there"),
        ("trace-get-state", #"{"name":"virtio_notif"}"#, "trace-get-state: there is no trace event 'virtio_notif'"),
        ("trace-set-state", #"{"name":"virtio_notif","enable":true}"#, "trace-set-state: there is no trace event 'virtio_notif'"),
        ("trace-event-set-state", #"{"name":"virtio_notif","enable":true}"#, "trace-event-set-state: there is no trace event 'virtio_notif'"),
        ("query-sev-capabilities", "{}", "query-sev-capabilities: SEV is not available"),
        ("query-command-line-options", #"{"option":"nonsense"}"#, "query-command-line-options: there is no option 'nonsense'"),
        ("qom-get", #"{"path":"/machine","property":"x"}"#, "qom-get: '/machine' has no property 'x'"),
        ("closefd", #"{"fdname":"tap"}"#, "closefd: no descriptor is named 'tap'"),
        ("netdev_add", #"{"id":"n","type":"tap","fds":"tap0:tap1"}"#, "netdev_add: no descriptor is named 'tap0'"),
        ("netdev_add", #"{"id":"n","type":"tap","fd":"tap0","vhost":"on","vhostfd":"tap0"}"#, "netdev_add: no descriptor is named 'tap0'"),
    ])
    func wrongArguments_areNamed(_ command: String, _ arguments: String, _ expected: String) {
        let desk = Desk()
        #expect(desk.say(command, arguments) == "GenericError: \(expected)")
        #expect(desk.machine.nodes.isEmpty && desk.machine.requests.isEmpty && desk.machine.netdevs.isEmpty)
    }

    @Test(arguments: [
        ("device_del", #"{"id":"ghost"}"#, "DeviceNotFound: there is nothing with the id 'ghost'"),
        ("blockdev-del", #"{"node-name":"ghost"}"#, "DeviceNotFound: there is nothing with the id 'ghost'"),
        ("netdev_del", #"{"id":"ghost"}"#, "DeviceNotFound: there is nothing with the id 'ghost'"),
        ("netlink_set", #"{"id":"ghost","up":true}"#, "DeviceNotFound: there is nothing with the id 'ghost'"),
        ("netdev_replace", #"{"id":"ghost","ifname":"t"}"#, "DeviceNotFound: there is nothing with the id 'ghost'"),
        ("device_add", #"{"id":"ghost","driver":"virtio-blk-mmio"}"#, "DeviceNotFound: there is nothing with the id 'ghost'"),
        ("blockdev-snapshot-internal-sync", #"{"device":"ghost","name":"s"}"#, "DeviceNotFound: there is nothing with the id 'ghost'"),
        ("qom-list", #"{"path":"/machine/ghost"}"#, "DeviceNotFound: there is no object at '/machine/ghost'"),
        ("qom-get", #"{"path":"machine","property":"type"}"#, "DeviceNotFound: there is no object at 'machine'"),
        ("device-list-properties", #"{"typename":"virtio-blk-pci"}"#, "DeviceNotFound: there is no device type 'virtio-blk-pci'"),
        ("netlink_set", #"{"id":"idle","up":true}"#, "DeviceNotActive: 'idle' is not in use"),
        ("device_add", #"{"id":"vhost","driver":"virtio-net-mmio"}"#, "KVMMissingCap: KVM has no irqfd, which vhost=on needs"),
        ("balloon", #"{"value":1}"#, "DeviceNotActive: No balloon device has been activated"),
    ])
    func otherClassesOfErrors(_ command: String, _ arguments: String, _ expected: String) {
        #expect(Desk().say(command, arguments) == expected)
    }

    /// What every machine of QEMU and StratoVirt is sent.
    @Test func deviceAdd_acceptsEveryArgumentOfItsTable() {
        let desk = Desk()
        _ = desk.say("blockdev-add", #"{"node-name":"d","file":{"driver":"file","filename":"/x"}}"#)
        let all =
            #"{"id":"d","driver":"virtio-blk-mmio","addr":"0x2","bus":"pcie.0","drive":"d","mac":"52:54:00:12:34:56","mq":true,"#
            + #""multifunction":"off","num-queues":"4","queue-size":256,"serial":"s","boot_index":1,"host":"0000:00:01.0","sysfsdev":"/sys/x","lun":1,"#
            + #""share-rw":"on","romfile":"","disable-modern":"false","vectors":4,"port":"1","backend":"b","path":"/p","cameradev":"c","hostbus":"1","#
            + #""hostaddr":"2","hostport":"3","vendorid":"0x1234","productid":"0x5678","isobufs":"4","isobsize":"5","cpu-id":1}"#
        #expect(desk.say("device_add", all) == "{}")
        #expect(desk.machine.requests == [.block(block("d", serial: "s"), slot: 2)])
    }

    private func block(_ id: String, serial: String? = nil) -> VmConfig.VirtioBlock {
        var device = VmConfig.VirtioBlock(drive: id)
        device.serial = serial
        return device
    }

    @Test(arguments: [
        ("\"addr\":\"0\"", 0), ("\"addr\":\"3\"", 3), ("\"addr\":\"0x03\"", 3), ("\"addr\":2", 2), ("\"lun\":0", 1), ("\"lun\":\"2\"", 3),
        ("\"addr\":\"1\",\"lun\":2", 1), ("\"bus\":\"x\"", nil),
    ])
    func slots_byAddressOrUnit(_ place: String, _ slot: Int?) {
        let desk = Desk()
        _ = desk.say("blockdev-add", #"{"node-name":"d","file":{"driver":"host_device","filename":"/x"}}"#)
        #expect(desk.say("device_add", "{\"id\":\"d\",\"driver\":\"virtio-blk-device\",\(place)}") == "{}")
        #expect(desk.machine.requests == [.block(block("d"), slot: slot)])
    }

    @Test(arguments: [
        ("\"netdev\":\"n\"", "n"), ("\"chardev\":\"c\"", "c"), ("\"netdev\":\"n\",\"chardev\":\"c\"", "n"), ("\"bus\":\"x\"", "net1"),
    ])
    func netDevice_findsItsBackEnd(_ argument: String, _ netdev: String) {
        let desk = Desk()
        #expect(desk.say("device_add", "{\"id\":\"net1\",\"driver\":\"virtio-net-mmio\",\(argument)}") == "{}")
        #expect(desk.machine.requests == [.net(VmConfig.VirtioNet(id: "net1", netdev: netdev), slot: nil)])
    }
}
