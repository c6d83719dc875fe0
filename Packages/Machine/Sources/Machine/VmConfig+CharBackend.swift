internal import Devices
internal import LinuxSys
internal import MachineManager

extension VmConfig.Chardev {
    /// The id of the chardev that `-serial` makes: no name of the user's, so errors leave it out.
    private static let serialID = "serial_chardev"

    /// Opens, listens or connects, and tells the user where a pseudo-terminal is.
    func makeBackend() throws(CharBackendError) -> any CharBackend {
        let made = try CharBackends.make(backend.spec, id: id == Self.serialID ? "" : id)
        // As QEMU says it, so that scripts find the path.
        if let path = made.terminalPath { StandardStreams.output("char device redirected to \(path) (label \(id))\n") }
        return made
    }
}

extension VmConfig.Chardev.Backend {
    fileprivate var spec: CharBackendSpec {
        switch self {
        case .stdio: .stdio
        case .pty: .pty
        case .file(let path): .file(path: path)
        case .redirectToLog: .redirectToLog
        case .socket(let socket): .socket(SocketSpec(socket.address.spec, isServer: socket.isServer))
        }
    }
}

extension VmConfig.SocketAddress {
    var spec: Devices.SocketAddress {
        switch self {
        case .unix(let path): .unix(path: path)
        case .tcp(let host, let port): .tcp(host: host, port: port)
        }
    }
}
