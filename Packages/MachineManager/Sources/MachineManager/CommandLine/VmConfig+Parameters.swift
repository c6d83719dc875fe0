extension VmConfig.Processors {
    /// The derivation rules of `-smp`: missing cores first, then missing sockets, then missing threads.
    init(_ list: ParameterList) throws(CommandLineError) {
        let cpus = list.number("cpus") ?? 1
        let dies = list.number("dies") ?? 1
        let clusters = list.number("clusters") ?? 1
        var sockets = list.number("sockets") ?? 0
        var cores = list.number("cores") ?? 0
        var threads = list.number("threads") ?? 0
        var maximum = list.number("maxcpus") ?? 0
        // Six factors of at most 254 stay far below 2^64.
        let inner = dies * clusters
        if maximum == 0 {
            let product = sockets * inner * cores * threads
            maximum = product > 0 ? product : cpus
        }
        if cores == 0 {
            sockets = max(sockets, 1)
            threads = max(threads, 1)
            cores = maximum / (sockets * inner * threads)
        } else if sockets == 0 {
            threads = max(threads, 1)
            sockets = maximum / (inner * cores * threads)
        }
        if threads == 0 { threads = maximum / (sockets * inner * cores) }
        guard cpus <= maximum else { throw list.invalid("maxcpus (\(maximum)) must be at least cpus (\(cpus))") }
        guard sockets * inner * cores * threads == maximum else {
            throw list.invalid(
                "sockets (\(sockets)) * dies (\(dies)) * clusters (\(clusters)) * cores (\(cores)) * threads (\(threads)) must equal maxcpus (\(maximum))")
        }
        guard maximum <= VmConfig.maximumCPUs else { throw list.invalid("maxcpus (\(maximum)) must be at most \(VmConfig.maximumCPUs)") }
        self.init()
        count = UInt32(clamping: cpus)
        self.maximum = UInt32(clamping: maximum)
        self.sockets = UInt32(clamping: sockets)
        self.dies = UInt32(clamping: dies)
        self.clusters = UInt32(clamping: clusters)
        self.cores = UInt32(clamping: cores)
        self.threads = UInt32(clamping: threads)
    }
}

extension VmConfig.Memory {
    init(_ list: ParameterList) throws(CommandLineError) {
        self.init()
        size = list.number("size") ?? size
        maximum = list.number("maxmem")
        guard size % 4096 == 0, (maximum ?? 0) % 4096 == 0 else { throw list.invalid("sizes must be multiples of 4K") }
        if let maximum, maximum < size {
            throw list.invalid("maxmem= (\(sizeText(maximum))) must be at least size= (\(sizeText(size)))")
        }
    }
}

extension VmConfig.Drive {
    init(_ list: ParameterList, others: [VmConfig.Drive]) throws(CommandLineError) {
        self.init(id: list.text("id") ?? "", file: list.text("file") ?? "")
        guard !others.contains(where: { $0.id == id }) else { throw list.invalid("id \(quoted(id)) is used twice") }
        isReadOnly = list.bool("readonly", default: false)
        isDirect = list.bool("direct", default: true)
        discards = list.bool("discard", default: false)
        asyncIO =
            switch list.text("aio") {
            case "io_uring"?: .ioUring
            case "threads"?: .threads
            default: .automatic
            }
    }
}

extension VmConfig.MonitorAddress {
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
        try list.requireServer()
    }
}

extension ParameterList {
    /// Sockets are servers that do not hold up the guest until a client comes.
    func requireServer() throws(CommandLineError) {
        guard bool("server", default: false) else { throw invalid("needs server") }
        guard bool("nowait", default: self["wait"] != nil) else { throw invalid("needs nowait") }
    }
}

/// Four decimal numbers of 0 to 255 without leading zeros, which some readers take for octal.
func isIPv4Address(_ text: String) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4
        && parts.allSatisfy { part in
            guard let number = decimal(part.utf8) else { return false }
            return number <= 255 && (part.utf8.count == 1 || part.utf8.first != UInt8(ascii: "0"))
        }
}
