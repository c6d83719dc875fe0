extension VmConfig.SocketAddress {
    /// `unix:PATH` or `tcp:IP:PORT`, then `server` and `nowait`.
    init(_ list: ParameterList) throws(CommandLineError) {
        let address = list.address
        if address.hasPrefix("unix:") {
            let path = String(address.dropFirst(5))
            guard !path.isEmpty else { throw list.invalid("unix: needs a path") }
            guard path.utf8.count <= OptionLimit.socketPath else {
                throw list.invalid("the socket's path is longer than \(OptionLimit.socketPath) bytes")
            }
            self = .unix(path: path)
        } else if address.hasPrefix("tcp:") {
            let parts = address.dropFirst(4).split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, let host = parts.first, let text = parts.last, isIPv4Address(String(host)) else {
                throw list.invalid("tcp: needs an IPv4 address and a port, as in tcp:127.0.0.1:4444")
            }
            guard let port = decimal(text.utf8), (1...65535).contains(port) else {
                throw list.invalid("the port must be a number from 1 to 65535, not \(quoted(String(text)))")
            }
            self = .tcp(host: String(host), port: UInt16(truncatingIfNeeded: port))
        } else {
            throw list.invalid("must begin with unix: or tcp:, not \(quoted(address))")
        }
    }

    /// `path=`, or `port=` and `host=`.
    init(parameters list: ParameterList) throws(CommandLineError) {
        switch (list.text("path"), list.number("port")) {
        case (let path?, nil):
            guard list.text("host") == nil else { throw list.invalid("host= goes with port=, not with path=") }
            self = .unix(path: path)
        case (nil, let port?):
            let host = list.text("host") ?? "0.0.0.0"
            guard isIPv4Address(host) else { throw list.invalid("host= must be an IPv4 address, not \(quoted(host))") }
            self = .tcp(host: host, port: UInt16(clamping: port))
        case (nil, nil): throw list.invalid("path= or port= is missing")
        case (_?, _?): throw list.excludes("path", "port")
        }
    }
}

extension VmConfig.Chardev.Backend {
    /// The parameters of `-chardev` and of `-serial`.
    init(_ list: ParameterList) throws(CommandLineError) {
        switch list.variant {
        case "stdio": self = .stdio
        case "pty": self = .pty
        case "file": self = .file(path: list.text("path") ?? "")
        case "redirect-to-log": self = .redirectToLog
        default:
            let address = try VmConfig.SocketAddress(parameters: list)
            let isServer = list.bool("server", default: false)
            // A client has nobody to wait for, whatever it says.
            if isServer { try list.requireNoWait() }
            self = .socket(VmConfig.Chardev.Socket(address: address, isServer: isServer))
        }
    }
}

extension ParameterList {
    /// Monitors are servers.
    func requireServer() throws(CommandLineError) {
        guard bool("server", default: false) else { throw invalid("needs server") }
        try requireNoWait()
    }

    /// Servers do not hold up the guest until a client comes.
    fileprivate func requireNoWait() throws(CommandLineError) {
        guard bool("nowait", default: self["wait"] != nil) else { throw invalid("needs nowait") }
    }
}
