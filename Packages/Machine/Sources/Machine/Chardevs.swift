internal import Devices
internal import MachineManager

/// The character devices of a machine: made when a device takes them, each by one device.
struct Chardevs {
    private struct Entry {
        let config: VmConfig.Chardev
        var backend: (any CharBackend)?
        /// A device has made a connection of its own.
        var isTaken = false
    }
    private var entries: [Entry]

    init(_ config: VmConfig) {
        entries = config.chardevs.map { Entry(config: $0) }
        if let serial = config.serial { entries.append(Entry(config: serial)) }
    }

    /// Opens, listens or connects.
    mutating func make(_ id: String) throws(MachineError) -> any CharBackend {
        guard let index = entries.firstIndex(where: { $0.config.id == id }), entries[index].backend == nil else {
            throw .noBackend(device: id, backend: id)
        }
        let config = entries[index].config
        let backend = try lift(MachineError.chardev) { () throws(CharBackendError) in try config.makeBackend() }
        entries[index].backend = backend
        return backend
    }

    /// Where a unix socket is, for a device that connects by itself; nil for anything else.
    mutating func takePath(_ id: String) -> String? {
        guard let index = entries.firstIndex(where: { $0.config.id == id }), case .socket(let socket) = entries[index].config.backend,
            case .unix(let path) = socket.address
        else { return nil }
        entries[index].isTaken = true
        return path
    }

    var infos: [ChardevInfo] {
        entries.map { entry in
            ChardevInfo(
                id: entry.config.id, filename: entry.backend?.filename ?? entry.config.backend.filename(isTaken: entry.isTaken),
                isOpen: entry.backend?.isConnected ?? entry.isTaken)
        }
    }
}

extension VmConfig.Chardev.Backend {
    /// For one that has no back end of `Chardevs`.
    fileprivate func filename(isTaken: Bool) -> String {
        switch self {
        case .stdio: "stdio"
        case .pty: "pty"
        case .file: "file"
        case .socket(let socket): "\(isTaken ? "" : "disconnected:")\(socket.address.spec)\(socket.isServer ? ",server=on" : "")"
        case .redirectToLog: "redirect-to-log"
        }
    }
}
