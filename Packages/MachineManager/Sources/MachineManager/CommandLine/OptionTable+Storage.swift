extension OptionTable {
    /// Drives, and the devices that show them to the guest.
    static var storage: [OptionSpec] {
        [
            option(
                .drive, "drive", .many, .none,
                [
                    ParameterSpec("id", .text(OptionLimit.text), required: true),
                    ParameterSpec("file", .path(OptionLimit.path), required: true, "regular file or block device"),
                    ParameterSpec("if", .choice(["none"], later: ["pflash"]), "default none"),
                    ParameterSpec("format", .choice(["raw"], later: ["qcow2"]), "default raw"),
                    ParameterSpec("readonly", .onOff, "default off"),
                    ParameterSpec("direct", .onOff, "bypass the host's page cache; default on"),
                    ParameterSpec("aio", .choice(["io_uring", "threads"], later: ["native", "off"]), "default: the best that works"),
                    ParameterSpec("media", .choice(["disk"], later: ["cdrom"]), "default disk"),
                    ParameterSpec("discard", .onOff, "pass the guest's discards and zero writes to the file; default off"),
                    ParameterSpec("detect-zeroes", .choice(["off"], later: ["on", "unmap"]), "default off"),
                    ParameterSpec("unit", .unsupported),
                    ParameterSpec("throttling.iops-total", .unsupported),
                    ParameterSpec("l2-cache-size", .unsupported),
                    ParameterSpec("refcount-cache-size", .unsupported),
                ],
                "disk image"),
            option(.device, "device", .many, .variants(what: "device", devices), "device of the guest"),
        ]
    }

    private static var devices: [OptionVariant] {
        let block = OptionVariant(
            "virtio-blk-device", "virtio block device on virtio-mmio",
            [
                ParameterSpec("drive", .text(OptionLimit.text), required: true, "id of a -drive"),
                ParameterSpec("id", .text(OptionLimit.text)),
                ParameterSpec("serial", .text(OptionLimit.blockSerial), "serial number that the guest reads"),
                ParameterSpec("iothread", .unsupported),
                ParameterSpec("bootindex", .unsupported),
                ParameterSpec("num-queues", .unsupported),
                ParameterSpec("queue-size", .unsupported),
                ParameterSpec("bus", .unsupported),
                ParameterSpec("addr", .unsupported),
                ParameterSpec("multifunction", .unsupported),
            ])
        let later = [
            "virtio-blk-pci", "virtio-net-device", "virtio-net-pci", "virtio-serial-device", "virtio-serial-pci", "virtconsole",
            "virtserialport", "virtio-balloon-device", "virtio-balloon-pci", "virtio-mem-device", "virtio-mem-pci",
            "virtio-pmem-device", "virtio-pmem-pci", "virtio-rng-device", "virtio-rng-pci", "vhost-vsock-device", "vhost-vsock-pci",
            "vhost-user-blk-device", "vhost-user-blk-pci", "vhost-user-fs-device", "vhost-user-fs-pci", "vhost-user-gpu-pci",
            "virtio-scsi-pci", "scsi-hd", "scsi-cd", "virtio-gpu-pci", "virtio-input-device", "virtio-input-pci",
            "virtio-multitouch-device", "virtio-multitouch-pci", "pcie-root-port", "vfio-pci", "nec-usb-xhci", "usb-kbd",
            "usb-tablet", "usb-consumer", "usb-storage", "usb-uas", "usb-camera", "usb-host", "pvpanic", "ramfb",
            "ivshmem-scream", "pcie-demo-dev",
        ]
        return [block] + later.map(OptionVariant.init(unsupported:))
    }
}
