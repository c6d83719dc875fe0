extension VmConfigBuilder {
    /// `-daemonize` and what goes or does not go with it.
    func checkProcess() throws(CommandLineError) {
        let stdioUsers = config.chardevs.count { $0.backend == .stdio } + (ownSerialIsStdio ? 1 : 0)
        guard stdioUsers <= 1 else { throw .conflict("stdio can be used only once among -serial and -chardev") }
        if config.machine.deviceTreeDump != nil {
            guard config.machine.kind == .microvm, !config.process.daemonizes else {
                throw .conflict("-machine: dumpdtb= goes neither with type=none nor with -daemonize")
            }
        }
        guard config.process.daemonizes else {
            if config.process.pidFile != nil { throw .conflict("-pidfile: needs -daemonize") }
            return
        }
        guard stdioUsers == 0 else { throw .conflict("-daemonize leaves no standard input and output for stdio") }
    }

    private var ownSerialIsStdio: Bool {
        if case .own(let chardev)? = serial { chardev.backend == .stdio } else { false }
    }

    func checkMonitorIOThreads() throws(CommandLineError) {
        for list in monitorIOThreads { try checkIOThread("iothread", of: list) }
    }

    /// An iothread that is named must exist.
    func checkIOThread(_ key: String, of list: ParameterList) throws(CommandLineError) {
        guard let id = list.text(key), !config.iothreads.contains(where: { $0.id == id }) else { return }
        throw list.invalid("there is no -object iothread with id \(quoted(id))")
    }

    /// `-mon` takes its character device out of the list and makes it an address of QMP.
    mutating func connectMonitor() throws(CommandLineError) {
        guard let list = monitor, let id = list.text("chardev") else { return }
        guard let index = config.chardevs.firstIndex(where: { $0.id == id }) else {
            throw list.invalid("there is no -chardev with id \(quoted(id))")
        }
        let chardev = config.chardevs.remove(at: index)
        guard case .socket(let socket) = chardev.backend else { throw list.invalid("chardev \(quoted(id)) is not a socket") }
        guard socket.isServer else { throw list.invalid("chardev \(quoted(id)) needs server and nowait") }
        config.monitors.append(socket.address)
    }

    mutating func connectSerial() throws(CommandLineError) {
        switch serial {
        case nil: break
        case .own(let chardev)?: config.serial = chardev
        case .named(let id)?:
            guard let index = config.chardevs.firstIndex(where: { $0.id == id }) else {
                let isMonitor = monitor?.text("chardev") == id
                throw .invalid(
                    option: "serial",
                    reason: isMonitor ? "chardev \(quoted(id)) is used by -mon" : "there is no -chardev with id \(quoted(id))")
            }
            config.serial = config.chardevs.remove(at: index)
        }
    }
}
