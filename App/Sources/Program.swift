internal import Hypervisor
internal import LinuxSys
internal import Machine
internal import MachineManager

/// Why the program cannot run a machine.
enum ProgramError: Error, CustomStringConvertible {
    case machine(MachineError)
    case hypervisor(HypervisorError)
    case qmp(QMPServerError)
    case log(path: String, Errno)
    case system(Errno)

    var description: String {
        switch self {
        case .machine(let error): error.description
        case .hypervisor(let error): error.description
        case .qmp(let error): error.description
        case .log(let path, let error): "-D: cannot open \(path): \(error)"
        case .system(let error): "cannot set up the event loop: \(error)"
        }
    }
}

/// Composes the packages: one machine, one event loop, QMP.
enum Program {
    /// How long clients may take to read their last answers and events.
    private static let farewell: UInt64 = 500_000_000

    /// When the vCPU threads and the serial port have surely done what they do once.
    private static let settling: UInt64 = 500_000_000

    /// Runs the machine to its end; the process's exit code.
    static func run(_ config: VmConfig) -> Int32 {
        do throws(ProgramError) {
            try startLog(config.process.log)
            warnOfUnused(config)
            return try runMachine(config)
        } catch {
            StandardStreams.error("stratovirt: \(error)\n")
            return 1
        }
    }

    private static func runMachine(_ config: VmConfig) throws(ProgramError) -> Int32 {
        let (loop, signals) = try lift(ProgramError.system) { () throws(Errno) in (try EventLoop(), try TerminationSignals()) }
        ExitActions.coverFatalSignals()
        let hypervisor = try lift(ProgramError.hypervisor) { () throws(HypervisorError) in try KVM.open().createVirtualMachine() }
        let machine = try lift(ProgramError.machine) { () throws(MachineError) in
            let machine = try MicroVM(config, hypervisor: hypervisor, loop: loop)
            try machine.realize()
            return machine
        }
        let qmp = QMPServer(loop: loop, control: machine)
        machine.reportEvents(to: qmp)
        try lift(ProgramError.system) { () throws(Errno) in
            try loop.add(signals.raw, .readable) { _ in
                while let signal = signals.next() { machine.end(.signal(signal.number)) }
            }
        }
        defer { qmp.close() }
        try lift(ProgramError.qmp) { () throws(QMPServerError) in
            for address in config.monitors { try qmp.listen(on: address) }
        }
        defer { machine.shutDown() }
        try lift(ProgramError.machine) { () throws(MachineError) in try machine.start() }
        ProgramMemory.releaseStartupPages()
        loop.after(nanoseconds: settling) { ProgramMemory.releaseStartupPages() }
        loop.run()
        machine.shutDown()
        qmp.flush(nanoseconds: farewell)
        guard case .failure(let reason) = machine.endReason else { return 0 }
        StandardStreams.error("stratovirt: \(reason)\n")
        return 1
    }

    /// Nothing on the command line is passed over in silence.
    private static func warnOfUnused(_ config: VmConfig) {
        for chardev in config.chardevs { Log.warn("-chardev: nothing uses \(chardev.id)") }
        for drive in config.drives {
            let isUsed = config.devices.contains { if case .virtioBlock(let device) = $0 { device.drive == drive.id } else { false } }
            if !isUsed { Log.warn("-drive: no -device uses \(drive.id)") }
        }
        if config.memory.maximum ?? config.memory.size > config.memory.size { Log.warn("-m: maxmem= has no effect: memory cannot be added yet") }
    }

    private static func startLog(_ target: VmConfig.LogTarget) throws(ProgramError) {
        let level = ProcessEnvironment.value("STRATOVIRT_LOG_LEVEL").flatMap(Log.Level.init)
        switch target {
        case .standardError: Log.configure(level: level ?? .warn)
        case .file(let path):
            do throws(Errno) {
                Log.configure(level: level ?? .info, file: try SysFile.open(path, [.writeOnly, .create, .append]))
            } catch {
                throw .log(path: path, error)
            }
        }
    }
}

/// Runs `body`; what it throws becomes the program's error.
private func lift<Failure: Error, Value>(
    _ wrap: (Failure) -> ProgramError, _ body: () throws(Failure) -> Value
) throws(ProgramError) -> Value {
    do throws(Failure) { return try body() } catch { throw wrap(error) }
}
