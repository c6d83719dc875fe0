extension VmConfig.Drive {
    /// The parameters of `-drive`, by whatever way they came.
    init(_ list: ParameterList) throws(CommandLineError) {
        self.init(id: list.text("id") ?? "", file: list.text("file") ?? "")
        isReadOnly = list.bool("readonly", default: false)
        isDirect = list.bool("direct", default: true)
        discards = list.bool("discard", default: false)
        if let limit = list.number("throttling.iops-total"), limit > 0 { iopsLimit = UInt32(clamping: limit) }
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

    /// What blockdev-add says: the same limits as on the command line.
    init(command: String, _ arguments: [QMPParameter]) throws(CommandLineError) {
        try self.init(ParameterList(command: command, arguments, for: OptionTable.drive))
    }
}
