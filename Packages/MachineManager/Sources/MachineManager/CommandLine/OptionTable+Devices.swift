extension OptionTable {
    static var device: OptionSpec {
        var variants = [virtioBlock, virtioNet, virtioSerial, console, serialPort, virtioRng, virtioBalloon, vhostVsock, virtioVsock, vhostUserFileSystem, vhostUserBlock, virtioMem, virtioPmem]
        variants += laterDevices.map(OptionVariant.init(unsupported:))
        return option(
            .device, "device", .many, .variants(what: "device", variants), "device of the guest; may come before what it names")
    }

    static var virtioBlock: OptionVariant {
        OptionVariant(
            "virtio-blk-device", "disk; without id= it has the drive's",
            [
                ParameterSpec("drive", .text(OptionLimit.text), required: true, "id of a -drive"),
                id,
                ParameterSpec("serial", .text(OptionLimit.blockSerial), "serial number that the guest reads"),
                iothread("iothread", "serves the device"),
                ParameterSpec("num-queues", .integer(1...32), "request queues; default 1"),
                ParameterSpec("queue-size", .powerOfTwo(4...1024), "entries of each queue; default 256"),
                ParameterSpec("bootindex", .integer(0...255), "no effect: the kernel is loaded by -kernel"),
            ] + misplaced)
    }

    static var virtioNet: OptionVariant {
        OptionVariant(
            "virtio-net-device", "network interface; without id= it has the netdev's",
            [
                ParameterSpec("netdev", .text(OptionLimit.text), required: true, "id of a -netdev"),
                id,
                ParameterSpec("mac", .mac, "default: made by the machine"),
                ParameterSpec("mq", .onOff, "offer as many queue pairs as the -netdev has; default off"),
                ParameterSpec("queue-size", .powerOfTwo(256...4096), "entries of each queue; default 256"),
                iothread("iothread", "serves the device"),
                iothread("rx-iothread", "serves what the guest receives"),
                iothread("tx-iothread", "serves what the guest sends"),
                ParameterSpec("vectors", .ignored, "no effect"),
            ] + misplaced)
    }

    private static var virtioSerial: OptionVariant {
        OptionVariant(
            "virtio-serial-device", "consoles and ports; at most one",
            [
                id,
                ParameterSpec("max_ports", .integer(1...VmConfig.maximumSerialPorts), "default \(VmConfig.maximumSerialPorts)"),
            ] + misplaced)
    }

    private static var console: OptionVariant {
        port("virtconsole", "console of the virtio-serial-device, /dev/hvc0 and so on in the guest", "default: the lowest that is free")
    }

    private static var serialPort: OptionVariant {
        port("virtserialport", "port of the virtio-serial-device, /dev/vport0p1 and so on in the guest", "default: the lowest from 1 on that is free; 0 means the same")
    }

    private static func port(_ name: String, _ help: String, _ number: String) -> OptionVariant {
        OptionVariant(
            name, help,
            [
                ParameterSpec("chardev", .text(OptionLimit.text), required: true, "id of a -chardev"),
                id,
                ParameterSpec("nr", .integer(0...(VmConfig.maximumSerialPorts - 1)), "number of the port; \(number)"),
                ParameterSpec("name", .text(OptionLimit.text), "the guest finds the port by it under /dev/virtio-ports"),
            ])
    }

    private static var virtioRng: OptionVariant {
        OptionVariant(
            "virtio-rng-device", "source of entropy",
            [
                ParameterSpec("rng", .text(OptionLimit.text), required: true, "id of an -object rng-random"),
                id,
                ParameterSpec("max-bytes", .integer(1...UInt64.max), "bytes in each period; needs period"),
                ParameterSpec("period", .integer(1...UInt64.max), "milliseconds; needs max-bytes; together 64 to 1000000000 bytes a second"),
            ] + misplaced)
    }

    private static var virtioBalloon: OptionVariant {
        OptionVariant(
            "virtio-balloon-device", "memory that the guest gives back; at most one",
            [
                id,
                ParameterSpec("deflate-on-oom", .onOff, "a guest without memory takes some out of the balloon; default off"),
                ParameterSpec("free-page-reporting", .onOff, "pages that the guest frees go back to the host; default off"),
                ParameterSpec("auto-balloon", .onOff, "the balloon follows the guest's need; default off"),
                ParameterSpec("membuf-percent", .integer(20...80), "of the memory the guest could spare, left to it by auto-balloon; default 50"),
                ParameterSpec("monitor-interval", .integer(5...300), "seconds between two looks of auto-balloon; default 10"),
            ] + misplaced)
    }

    private static var vhostVsock: OptionVariant {
        OptionVariant(
            "vhost-vsock-device", "vsock; at most one",
            [
                ParameterSpec("guest-cid", .integer(VmConfig.guestCIDs), required: true, "the guest's address"),
                id,
                ParameterSpec("vhostfd", .descriptor, "open descriptor of /dev/vhost-vsock; default: open it"),
            ] + misplaced)
    }

    private static var virtioVsock: OptionVariant {
        OptionVariant(
            "virtio-vsock-device", "vsock over unix sockets, without the kernel's vhost; at most one vsock device",
            [
                ParameterSpec("guest-cid", .integer(VmConfig.socketGuestCIDs), required: true, "the guest's address"),
                ParameterSpec("path", .path(OptionLimit.vsockPath), required: true, "Unix socket of the host"),
                id,
                iothread("iothread", "serves the device"),
            ] + misplaced)
    }

    private static var vhostUserFileSystem: OptionVariant {
        OptionVariant(
            "vhost-user-fs-device", "folder that virtiofsd shares; needs -machine mem-share=on",
            [
                ParameterSpec("chardev", .text(OptionLimit.text), required: true, "id of a -chardev socket with path=, where virtiofsd listens"),
                ParameterSpec("tag", .text(OptionLimit.fileSystemTag), required: true, "name by which the guest mounts it"),
                id,
            ] + misplaced)
    }

    private static var vhostUserBlock: OptionVariant {
        OptionVariant(
            "vhost-user-blk-device", "disk that another program serves; needs -machine mem-share=on",
            [
                ParameterSpec("chardev", .text(OptionLimit.text), required: true, "id of a -chardev socket with path=, where the program listens"),
                id,
                ParameterSpec("num-queues", .integer(1...32), "default: one for each vCPU, or as many as the program has"),
                ParameterSpec("queue-size", .powerOfTwo(4...1024), "entries of each queue; default 256"),
                ParameterSpec("bootindex", .integer(0...255), "no effect: the kernel is loaded by -kernel"),
            ] + misplaced)
    }

    static var id: ParameterSpec { ParameterSpec("id", .text(OptionLimit.text)) }

    private static func iothread(_ key: String, _ help: String) -> ParameterSpec {
        ParameterSpec(key, .text(OptionLimit.text), "id of an -object iothread that \(help)")
    }

    /// What the PCI kinds of these devices must have and these must not.
    static var misplaced: [ParameterSpec] {
        ["bus", "addr", "multifunction"].map { ParameterSpec($0, .misplaced("for PCI devices, which a microvm has none of")) }
    }

    private static var laterDevices: [String] {
        [
            "virtio-blk-pci", "virtio-net-pci", "virtio-serial-pci", "virtio-balloon-pci",
            "virtio-mem-pci", "virtio-pmem-pci", "virtio-rng-pci", "vhost-vsock-pci",
            "vhost-user-blk-pci", "vhost-user-fs-pci", "vhost-user-gpu-pci", "virtio-scsi-pci", "scsi-hd", "scsi-cd", "virtio-gpu-pci",
            "virtio-input-device", "virtio-input-pci", "virtio-multitouch-device", "virtio-multitouch-pci", "pcie-root-port", "vfio-pci",
            "nec-usb-xhci", "usb-kbd", "usb-tablet", "usb-consumer", "usb-storage", "usb-uas", "usb-camera", "usb-host", "pvpanic",
            "ramfb", "ivshmem-scream", "pcie-demo-dev",
        ]
    }
}
