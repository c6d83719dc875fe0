internal import Hypervisor
internal import LinuxSys
internal import Machine
internal import MachineManager

/// Composes the packages: one process, one machine, one event loop, QMP.
enum Program {
    /// How long clients may take to read their last answers and events.
    private static let farewell: UInt64 = 500_000_000

    /// When the vCPU threads and the serial port have surely done what they do once.
    private static let settling: UInt64 = 100_000_000

    /// Runs the machine to its end; the process's exit code.
    static func run(_ config: VmConfig) -> Int32 {
        var daemon: Daemon?
        do throws(ProgramError) {
            // First, while there is one thread and nothing is open. Only the daemon comes back from it.
            if config.process.daemonizes {
                daemon = try lift(ProgramError.daemon) { () throws(Errno) in try Daemon.start(errorPrefix: "stratovirt: ") }
            }
            try runProcess(config, daemon)
            return 0
        } catch {
            report(error.description, to: daemon)
            return 1
        }
    }

    /// To whoever started the program: the process that waits for the daemon, or standard error; and to the log's file.
    private static func report(_ sentence: String, to daemon: Daemon?) {
        if Log.isFile { Log.error(sentence) }
        if daemon?.fail(sentence) != true { StandardStreams.error("stratovirt: \(sentence)\n") }
    }

    private static func runProcess(_ config: VmConfig, _ daemon: Daemon?) throws(ProgramError) {
        // Before there is anything that a signal would leave behind.
        let (loop, signals) = try lift(ProgramError.system) { () throws(Errno) in (try EventLoop(), try TerminationSignals()) }
        ExitActions.coverFatalSignals()
        if let path = config.process.pidFile {
            try lift({ ProgramError.pidFile(path: path, $0) }) { () throws(Errno) in try PIDFile.create(path: path) }
        }
        try startLog(config.process)
        try startTraces(config.traces)
        Log.info("VmConfig is \(config.summary)")
        warnOfUnused(config)
        let machine = try makeMachine(config, loop)
        // All that was asked for has been written.
        if config.machine.deviceTreeDump != nil { return }
        InheritedDescriptors.closeUnnamed()
        try run(machine, config, loop, signals) { () throws(ProgramError) in
            guard let daemon else { return }
            try lift(ProgramError.daemon) { () throws(Errno) in try daemon.ready() }
        }
        if case .failure(let reason) = machine.endReason { throw .stopped(reason) }
    }

    /// A machine of which everything exists and nothing runs.
    private static func makeMachine(_ config: VmConfig, _ loop: EventLoop) throws(ProgramError) -> any RunnableMachine {
        switch config.machine.kind {
        case .none: return NoMachine(loop: loop)
        case .microvm:
            let hypervisor = try lift(ProgramError.hypervisor) { () throws(HypervisorError) in try KVM.open().createVirtualMachine() }
            return try lift(ProgramError.machine) { () throws(MachineError) in
                let machine = MicroVM(config, hypervisor: hypervisor, loop: loop)
                try Trace.scope(.machineRealize) { () throws(MachineError) in try machine.realize() }
                return machine
            }
        }
    }

    /// `isRunning` is called once QMP listens and the vCPUs run.
    private static func run(
        _ machine: any RunnableMachine, _ config: VmConfig, _ loop: EventLoop, _ signals: TerminationSignals, isRunning: () throws(ProgramError) -> Void
    ) throws(ProgramError) {
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
        try lift(ProgramError.machine) { () throws(MachineError) in
            try Trace.scope(.machineStart) { () throws(MachineError) in try machine.start() }
        }
        try isRunning()
        // Not at once: the vCPUs' threads, for which the guest waits, are starting, and need the same pages and the same lock of the kernel.
        loop.after(nanoseconds: settling / 10) { ProgramMemory.releaseStartupPages() }
        loop.after(nanoseconds: settling) { ProgramMemory.releaseStartupPages() }
        // Two hundred system calls: most guests have booted by then.
        loop.after(nanoseconds: settling * 10) {
            ProgramMemory.limitFaultAround()
            ProgramMemory.releaseStartupPages()
        }
        loop.run()
        machine.shutDown()
        qmp.flush(nanoseconds: farewell)
    }

    /// Nothing on the command line is passed over in silence.
    private static func warnOfUnused(_ config: VmConfig) {
        for sentence in config.unusedParts(on: .host) { Log.warn(sentence) }
    }

    private static func startTraces(_ traces: [VmConfig.Trace]) throws(ProgramError) {
        for trace in traces {
            try lift({ ProgramError.trace($0) }) { () throws(TraceError) in try trace.enable() }
        }
    }

    /// Without `-D` only warnings and errors go to standard error; with it, informative entries too, as management layers expect.
    private static func startLog(_ process: VmConfig.Process) throws(ProgramError) {
        let level = ProcessEnvironment.value("STRATOVIRT_LOG_LEVEL").flatMap(Log.Level.init) ?? (process.isLogRequested ? .info : .warn)
        switch process.log {
        case .standardError: Log.configure(level: level)
        case .file(let path): try lift({ ProgramError.log(path: path, $0) }) { () throws(Errno) in try Log.configure(level: level, path: path) }
        }
    }
}
