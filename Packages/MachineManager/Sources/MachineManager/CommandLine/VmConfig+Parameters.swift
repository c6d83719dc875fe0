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
    mutating func setSize(_ list: ParameterList) throws(CommandLineError) {
        size = list.number("size") ?? size
        maximum = list.number("maxmem")
        guard size % 4096 == 0, (maximum ?? 0) % 4096 == 0 else { throw list.invalid("sizes must be multiples of 4K") }
        if let maximum, maximum < size {
            throw list.invalid("maxmem= (\(sizeText(maximum))) must be at least size= (\(sizeText(size)))")
        }
    }
}
