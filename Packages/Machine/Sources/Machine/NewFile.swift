internal import LinuxSys

/// A file that a start has made. It goes with this object and with the process, however that ends, unless the machine has started meanwhile.
final class NewFile {
    private let path: ExitActions.Path?

    /// `path` exists.
    init(path: String) { self.path = try? ExitActions.remove(path: path) }

    /// The machine runs.
    func keep() { if let path { ExitActions.keep(path) } }

    deinit { if let path { ExitActions.removeNow(path) } }
}
