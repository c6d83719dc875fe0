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
                "default: io_uring, or else threads; native is Linux AIO and needs direct=on; off needs direct=off"),
            ParameterSpec(
                "cache", .choice(["none", "writeback", "writethrough", "directsync", "unsafe"], later: []), "sets the three below; default none"),
            ParameterSpec("cache.direct", .onOff, "as direct"),
            ParameterSpec("cache.writeback", .onOff, "off: each write is stable before the guest hears of its end; default on"),
            ParameterSpec("cache.no-flush", .onOff, "the guest's flushes do nothing, for disks that may be lost; default off"),
            ParameterSpec("media", .choice(["disk"], later: ["cdrom"]), "default disk"),
            ParameterSpec("discard", .onOff, "also unmap|ignore; pass the guest's discards and zero writes to the file; default off"),
            ParameterSpec(
                "detect-zeroes", .choice(["off", "on", "unmap"], later: []),
                "on: writes of zeros become zero writes; unmap: and free the file's space if discard=unmap; default off"),
            ParameterSpec("unit", .unsupported),
            ParameterSpec("l2-cache-size", .unsupported),
            ParameterSpec("refcount-cache-size", .unsupported),
        ] + throttling
    }
}
