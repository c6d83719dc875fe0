/// Collects the options in the order in which they come, then checks what they mean together.
struct VmConfigBuilder {
    private var config = VmConfig(kernel: "")
    private var hasKernel = false
    private var kernelArguments: [String] = []
    private var serial: Serial?
    private var chardevs: [NamedChardev] = []
    private var monitorChardev: String?

    private enum Serial {
        case own(VmConfig.Chardev)
        case named(String)
    }

    /// A `-chardev`; unlike in `VmConfig` its socket may be a TCP one, which only a monitor can use.
    private struct NamedChardev {
        enum Backend {
            case local(VmConfig.Chardev.Backend)
            case tcp(host: String, port: UInt16)
        }
        let id: String
        let backend: Backend
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
        case .disableSeccomp: config.isSeccompDisabled = true
        default: break
        }
    }

    private mutating func addWhole(_ spec: OptionSpec, _ value: String) throws(CommandLineError) {
        let limit = spec.id == .name ? OptionLimit.text : OptionLimit.path
        if spec.id == .append { return kernelArguments.append(value) }
        guard spec.id != .ignored else { return }
        guard !value.isEmpty else { throw .missingValue(option: spec.name) }
        guard value.utf8.count <= limit else { throw .invalid(option: spec.name, reason: "longer than \(limit) bytes") }
        switch spec.id {
        case .name: config.name = value
        case .initrd: config.boot.initrd = value
        case .log: config.process.log = .file(path: value)
        case .kernel:
            config.boot.kernel = value
            hasKernel = true
        default: break
        }
    }

    private mutating func addParameters(_ id: OptionID, _ list: ParameterList) throws(CommandLineError) {
        switch id {
        case .machine:
            config.machine.dumpGuestCore = list.bool("dump-guest-core", default: true)
            config.machine.memShare = list.bool("mem-share", default: false)
        case .smp: config.processors = try VmConfig.Processors(list)
        case .memory: config.memory = try VmConfig.Memory(list)
        case .drive: config.drives.append(try VmConfig.Drive(list, others: config.drives))
        case .device: try addDevice(list)
        case .qmp: config.monitors.append(try VmConfig.MonitorAddress(list))
        case .monitor: monitorChardev = list.text("chardev")
        case .serial: serial = .own(VmConfig.Chardev(id: "serial_chardev", backend: try localBackend(list)))
        case .chardev: try addChardev(list)
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

    private mutating func addDevice(_ list: ParameterList) throws(CommandLineError) {
        var device = VmConfig.VirtioBlock(id: list.text("id"), drive: list.text("drive") ?? "")
        device.serial = list.text("serial")
        for case .virtioBlock(let other) in config.devices {
            if device.id == other.id { throw .invalid(option: "device", reason: "id \(quoted(device.id)) is used twice") }
            if other.drive == device.drive {
                throw .invalid(option: "device", reason: "drive \(quoted(device.drive)) is used by two devices")
            }
        }
        config.devices.append(.virtioBlock(device))
    }

    private mutating func addChardev(_ list: ParameterList) throws(CommandLineError) {
        let id = list.text("id") ?? ""
        guard !chardevs.contains(where: { $0.id == id }) else {
            throw .invalid(option: "chardev", reason: "id \(quoted(id)) is used twice")
        }
        chardevs.append(NamedChardev(id: id, backend: try backend(list)))
    }
}

extension VmConfigBuilder {
    private func backend(_ list: ParameterList) throws(CommandLineError) -> NamedChardev.Backend {
        switch list.variant {
        case "stdio": return .local(.stdio)
        case "pty": return .local(.pty)
        case "file": return .local(.file(path: list.text("path") ?? ""))
        default: break
        }
        try list.requireServer()
        switch (list.text("path"), list.number("port")) {
        case (let path?, nil):
            guard list.text("host") == nil else { throw list.invalid("host= goes with port=, not with path=") }
            return .local(.socket(VmConfig.Chardev.Socket(address: .unix(path: path), isServer: true)))
        case (nil, let port?):
            let host = list.text("host") ?? "0.0.0.0"
            guard isIPv4Address(host) else { throw list.invalid("host= must be an IPv4 address, not \(quoted(host))") }
            return .tcp(host: host, port: UInt16(truncatingIfNeeded: port))
        case (nil, nil): throw list.invalid("path= or port= is missing")
        case (_?, _?): throw list.invalid("path= and port= exclude each other")
        }
    }

    private func localBackend(_ list: ParameterList) throws(CommandLineError) -> VmConfig.Chardev.Backend {
        guard case .local(let local) = try backend(list) else { throw .notSupportedYet(subject: "-\(list.option) \(list.variant) with port=") }
        return local
    }

    /// Checks what concerns several options and gives the configuration.
    consuming func finish() throws(CommandLineError) -> VmConfig {
        guard hasKernel else { throw .conflict("-kernel is missing") }
        config.boot.kernelArguments = kernelArguments.joined(separator: " ")
        guard config.boot.initrd != nil || !config.drives.isEmpty || !chardevs.isEmpty else {
            throw .conflict("the guest has no root file system: give -initrd, -drive or -chardev")
        }
        try connectMonitor()
        try connectSerial()
        for chardev in chardevs {
            guard case .local(let local) = chardev.backend else {
                throw .notSupportedYet(subject: "-chardev socket with port=, other than for -mon")
            }
            config.chardevs.append(VmConfig.Chardev(id: chardev.id, backend: local))
        }
        let stdioUsers = config.chardevs.count { $0.backend == .stdio } + (config.serial?.backend == .stdio ? 1 : 0)
        guard stdioUsers <= 1 else { throw .conflict("stdio can be used only once among -serial and -chardev") }
        for case .virtioBlock(let device) in config.devices where !config.drives.contains(where: { $0.id == device.drive }) {
            throw .invalid(option: "device", reason: "there is no -drive with id \(quoted(device.drive))")
        }
        return config
    }

    /// `-mon` takes its character device out of the list and makes it an address of QMP.
    private mutating func connectMonitor() throws(CommandLineError) {
        guard let id = monitorChardev else { return }
        guard let index = chardevs.firstIndex(where: { $0.id == id }) else {
            throw .invalid(option: "mon", reason: "there is no -chardev with id \(quoted(id))")
        }
        switch chardevs[index].backend {
        case .local(.socket(let socket)): config.monitors.append(socket.address)
        case .tcp(let host, let port): config.monitors.append(.tcp(host: host, port: port))
        case .local: throw .invalid(option: "mon", reason: "chardev \(quoted(id)) is not a socket")
        }
        chardevs.remove(at: index)
    }

    private mutating func connectSerial() throws(CommandLineError) {
        switch serial {
        case nil: break
        case .own(let chardev)?: config.serial = chardev
        case .named(let id)?:
            guard id != monitorChardev else { throw .invalid(option: "serial", reason: "chardev \(quoted(id)) is used by -mon") }
            guard let index = chardevs.firstIndex(where: { $0.id == id }) else {
                throw .invalid(option: "serial", reason: "there is no -chardev with id \(quoted(id))")
            }
            guard case .local(let local) = chardevs[index].backend else {
                throw .notSupportedYet(subject: "-serial on a -chardev socket with port=")
            }
            config.serial = VmConfig.Chardev(id: id, backend: local)
            chardevs.remove(at: index)
        }
    }
}
