/// Collects the options in the order in which they come, then checks what they mean together.
///
/// Devices may come before what they name, so they are kept as they are written until everything is known.
struct VmConfigBuilder {
    var config = VmConfig(kernel: "")
    var devices: [ParameterList] = []
    /// Those whose chardevs must be looked at.
    var vhostUserNetdevs: [ParameterList] = []
    /// Chardevs that netdevs have.
    var netdevChardevs: [String] = []
    var serial: Serial?
    var monitor: ParameterList?
    var monitorIOThreads: [ParameterList] = []
    private var kernelArguments: [String] = []
    var nodeLists: [ParameterList] = []
    /// The ids of memory backends that something is made of.
    var takenMemoryBackends: [String] = []

    enum Serial {
        case own(VmConfig.Chardev)
        case named(String)
    }

    /// Takes one occurrence of an option with its values, whose number suits the option's arity.
    mutating func add(_ spec: OptionSpec, _ values: [String]) throws(CommandLineError) {
        if spec.arity == .flag { return addFlag(spec.id) }
        if spec.id == .log { config.process.isLogRequested = true }
        for value in values {
            if case .whole = spec.head {
                try addWhole(spec, value)
            } else {
                try addParameters(spec.id, ParameterList(value, for: spec))
            }
        }
    }

    private mutating func addFlag(_ id: OptionID) {
        switch id {
        case .freeze: config.startsPaused = true
        case .memoryPreallocation: config.memory.isPreallocated = true
        case .disableSeccomp: config.isSeccompDisabled = true
        case .daemonize: config.process.daemonizes = true
        default: break
        }
    }

    private mutating func addWhole(_ spec: OptionSpec, _ value: String) throws(CommandLineError) {
        if spec.id == .append { return kernelArguments.append(value) }
        guard spec.id != .ignored else { return }
        guard !value.isEmpty else { throw .missingValue(option: spec.name) }
        let limit = spec.id == .name || spec.id == .uuid ? OptionLimit.text : OptionLimit.path
        guard value.utf8.count <= limit else { throw .invalid(option: spec.name, reason: "longer than \(limit) bytes") }
        switch spec.id {
        case .name: config.name = value
        case .uuid: config.uuid = isUUID(value) ? value : nil
        case .initrd: config.boot.initrd = value
        case .log: config.process.log = .file(path: value)
        case .pidFile: config.process.pidFile = value
        case .kernel: config.boot.kernel = value
        case .memoryPath: config.memory.path = unwrapped(value)
        default: break
        }
    }

    private mutating func addParameters(_ id: OptionID, _ list: ParameterList) throws(CommandLineError) {
        switch id {
        case .machine:
            if list.text("type") == "none" { config.machine.kind = .none }
            config.machine.dumpGuestCore = list.bool("dump-guest-core", default: true)
            config.machine.memShare = list.bool("mem-share", default: false)
            config.machine.gicVersion = list.text("gic-version") == "3" ? .v3 : nil
            config.machine.deviceTreeDump = list.text("dumpdtb")
        case .cpu:
            config.cpu.hasPMU = list.bool("pmu", default: false)
            config.cpu.hasSVE = list.bool("sve", default: false)
            config.cpu.hasStealTime = list.bool("kvm-steal-time", default: false)
        case .smp: config.processors = try VmConfig.Processors(list)
        case .memory: try config.memory.setSize(list)
        case .numa: nodeLists.append(list)
        case .drive: try addDrive(list)
        case .netdev: try addNetdev(list)
        case .object: try addObject(list)
        case .device: devices.append(list)
        case .qmp:
            config.monitors.append(try VmConfig.SocketAddress(list))
            try list.requireServer()
            monitorIOThreads.append(list)
        case .monitor:
            monitor = list
            monitorIOThreads.append(list)
        case .serial: serial = .own(VmConfig.Chardev(id: "serial_chardev", backend: try VmConfig.Chardev.Backend(list)))
        case .chardev: try addChardev(list)
        case .trace: config.traces += try VmConfig.Trace.list(list)
        default: break
        }
    }

    /// `-serial chardev:ID`, whose value is not a list of parameters.
    mutating func setSerial(named id: String) throws(CommandLineError) {
        guard !id.isEmpty, id.utf8.count <= OptionLimit.text else {
            throw .invalid(option: "serial", reason: "chardev: needs the id of a -chardev, of at most \(OptionLimit.text) bytes")
        }
        serial = .named(id)
    }

    /// Checks what concerns several options and gives the configuration.
    consuming func finish() throws(CommandLineError) -> VmConfig {
        // Not `joined(separator:)`: that looks for conformances among all of the program's, for longer than the rest of this takes.
        config.boot.kernelArguments = kernelArguments.reduce(into: "") { text, words in text += text.isEmpty ? words : " " + words }
        if config.machine.kind == .microvm {
            guard !config.boot.kernel.isEmpty else { throw .conflict("-kernel is missing") }
            guard config.boot.initrd != nil || !config.drives.isEmpty || !config.chardevs.isEmpty else {
                throw .conflict("the guest has no root file system: give -initrd, -drive or -chardev")
            }
        }
        try checkProcess()
        try checkMonitorIOThreads()
        try connectMonitor()
        try connectSerial()
        try makeNodes()
        try makeDevices()
        return config
    }
}

extension VmConfigBuilder {
    private mutating func addDrive(_ list: ParameterList) throws(CommandLineError) {
        let drive = try VmConfig.Drive(list)
        try list.checkNew(drive.id, among: config.drives.map(\.id))
        config.drives.append(drive)
    }

    private mutating func addNetdev(_ list: ParameterList) throws(CommandLineError) {
        let netdev = try VmConfig.Netdev(list)
        try list.checkNew(netdev.id, among: config.netdevs.map(\.id))
        config.netdevs.append(netdev)
        if list.variant == "vhost-user" { vhostUserNetdevs.append(list) }
    }

    private mutating func addChardev(_ list: ParameterList) throws(CommandLineError) {
        let chardev = VmConfig.Chardev(id: list.text("id") ?? "", backend: try VmConfig.Chardev.Backend(list))
        try list.checkNew(chardev.id, among: config.chardevs.map(\.id))
        config.chardevs.append(chardev)
    }

    private mutating func addObject(_ list: ParameterList) throws(CommandLineError) {
        let id = list.text("id") ?? ""
        switch list.variant {
        case "iothread":
            try list.checkNew(id, among: config.iothreads.map(\.id))
            guard config.iothreads.count < VmConfig.maximumIOThreads else {
                throw list.invalid("there can be at most \(VmConfig.maximumIOThreads)")
            }
            config.iothreads.append(VmConfig.IOThread(id: id, polling: list.number("poll-max-ns") ?? VmConfig.usualPolling))
        case "rng-random":
            try list.checkNew(id, among: config.rngSources.map(\.id))
            config.rngSources.append(VmConfig.RngSource(id: id, filename: list.text("filename") ?? ""))
        default: try addMemoryBackend(list)
        }
    }
}

extension ParameterList {
    /// Ids are unique among what has them for the same purpose.
    func checkNew(_ id: String, among others: [String]) throws(CommandLineError) {
        guard !others.contains(id) else { throw invalid("id \(quoted(id)) is used twice") }
    }
}
