extension OptionTable {
    static var storage: [OptionSpec] {
        [option(.drive, "drive", .many, .none, drive, "disk image")]
    }

    /// QMP's blockdev-add keeps the same rules.
    static var drive: [ParameterSpec] {
        [
            ParameterSpec("id", .text(OptionLimit.text), required: true),
            ParameterSpec("file", .path(OptionLimit.path), required: true, "regular file or block device"),
            ParameterSpec("if", .choice(["none"], later: ["pflash"]), "default none"),
            ParameterSpec("format", .choice(["raw"], later: ["qcow2"]), "default raw"),
            ParameterSpec("readonly", .onOff, "default off"),
            ParameterSpec("direct", .onOff, "bypass the host's page cache; default on"),
            ParameterSpec(
                "aio", .choice(["native", "io_uring", "threads", "off"], later: []),
                "default: the best that works, as native; native needs direct=on; off is threads and needs direct=off"),
            ParameterSpec("media", .choice(["disk"], later: ["cdrom"]), "default disk"),
            ParameterSpec("discard", .onOff, "also unmap|ignore; pass the guest's discards and zero writes to the file; default off"),
            ParameterSpec("detect-zeroes", .choice(["off"], later: ["on", "unmap"]), "default off"),
            ParameterSpec("throttling.iops-total", .integer(0...VmConfig.maximumIOPS), "requests a second, 0 for no limit; no effect yet"),
            ParameterSpec("unit", .unsupported),
            ParameterSpec("l2-cache-size", .unsupported),
            ParameterSpec("refcount-cache-size", .unsupported),
        ]
    }
}
