internal import Hypervisor
internal import LinuxSys
internal import Machine
internal import MachineManager

/// Why the program cannot run a machine.
enum ProgramError: Error, CustomStringConvertible {
    case daemon(Errno)
    case pidFile(path: String, Errno)
    case log(path: String, Errno)
    case trace(TraceError)
    case system(Errno)
    case hypervisor(HypervisorError)
    case machine(MachineError)
    case qmp(QMPServerError)
    /// The machine ran, and could not go on.
    case stopped(String)

    var description: String {
        switch self {
        case .daemon(.brokenPipe): "-daemonize: nobody waits for the machine any more"
        case .daemon(.noEntry): "-daemonize: there is no /dev/null"
        case .daemon(let error): "-daemonize: cannot go to the background: \(error)"
        case .pidFile(let path, .exists): "-pidfile: '\(path)' exists already"
        case .pidFile(let path, let error): "-pidfile: cannot create '\(path)': \(error)"
        case .log(let path, let error): "-D: cannot open '\(path)': \(error)"
        case .trace(let error): error.description
        case .system(let error): "cannot set up the event loop: \(error)"
        case .hypervisor(let error): error.description
        case .machine(let error): error.description
        case .qmp(let error): error.description
        case .stopped(let reason): reason
        }
    }
}

/// Runs `body`; what it throws becomes the program's error.
func lift<Failure: Error, Value>(
    _ wrap: (Failure) -> ProgramError, _ body: () throws(Failure) -> Value
) throws(ProgramError) -> Value {
    do throws(Failure) { return try body() } catch { throw wrap(error) }
}
