extension VmConfig.Drive {
    /// The parameters of `-drive`, by whatever way they came.
    init(_ list: ParameterList) throws(CommandLineError) {
        self.init(id: list.text("id") ?? "", file: list.text("file") ?? "")
        isReadOnly = list.bool("readonly", default: false)
        try setCache(list)
        discards = list.bool("discard", default: false)
        zeroDetection = list.text("detect-zeroes").flatMap(ZeroDetection.init(rawValue:)) ?? .off
        throttle = try VmConfig.Throttle(list)
        switch list.text("aio") {
        case "native"?:
            guard isDirect else { throw list.invalid("\(list.label("aio", is: "native")) needs \(list.label("direct", is: "on"))") }
            asyncIO = .native
        case "off"?:
            guard !isDirect else { throw list.invalid("\(list.label("aio", is: "off")) needs \(list.label("direct", is: "off"))") }
            asyncIO = .off
        case "io_uring"?: asyncIO = .ioUring
        case "threads"?: asyncIO = .threads
        default: asyncIO = .automatic
        }
    }

    /// `cache=` stands for three switches, as in QEMU; each of them may be given in its place. `direct=` is StratoVirt's word for one of them.
    private mutating func setCache(_ list: ParameterList) throws(CommandLineError) {
        let mode = list.text("cache")
        for key in ["cache", "cache.direct"] where list["direct"] != nil && list[key] != nil { throw list.excludes("direct", key) }
        isDirect = list.bool("direct", default: list.bool("cache.direct", default: mode == nil || mode == "none" || mode == "directsync"))
        writesThrough = !list.bool("cache.writeback", default: mode != "writethrough" && mode != "directsync")
        ignoresFlushes = list.bool("cache.no-flush", default: mode == "unsafe")
    }

    /// What blockdev-add says: the same limits as on the command line.
    init(command: String, _ arguments: [QMPParameter]) throws(CommandLineError) {
        try self.init(ParameterList(command: command, arguments, for: OptionTable.drive))
    }
}
