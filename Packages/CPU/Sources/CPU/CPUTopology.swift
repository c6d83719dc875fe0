/// How the vCPUs of a machine are arranged: `-smp`. The product of the five levels is `maxcpus`.
public struct CPUTopology: Equatable, Sendable {
    /// vCPUs that are there from the start.
    public let cpus: Int
    /// vCPUs that there can ever be.
    public let maxcpus: Int
    public let sockets: Int
    /// Per socket.
    public let dies: Int
    /// Per die. CPUID has no word for them: on x86 their cores count as cores of the die. A device tree has no word for dies instead: see `FDTBuilder.cpus`.
    public let clusters: Int
    /// Per cluster.
    public let cores: Int
    /// Per core.
    public let threads: Int

    /// The same on all architectures. It comes from x86: APIC ids have 8 bits and 255 is broadcast; one more is left for the I/O APIC. On aarch64 the
    /// interrupt controller may have a lower one: 8 for GICv2, and for GICv3 as many as there are redistributors.
    public static let limit = 254

    /// Derives what is nil or 0: dies and clusters are 1, `maxcpus` is the product of the levels when all are given and `cpus` otherwise, the
    /// rest goes to cores before sockets before threads.
    public init(
        cpus: Int = 1, maxcpus: Int? = nil, sockets: Int? = nil, dies: Int? = nil, clusters: Int? = nil, cores: Int? = nil, threads: Int? = nil
    ) throws(CPUTopologyError) {
        func given(_ value: Int?) -> Int? { value == 0 ? nil : value }
        func check(_ level: Int?) throws(CPUTopologyError) {
            if let level, level < 1 { throw .levelOutOfRange(level) }
        }
        guard (1...CPUTopology.limit).contains(cpus) else { throw .cpusOutOfRange(cpus) }
        let dies = given(dies) ?? 1
        let clusters = given(clusters) ?? 1
        var levels = Levels(sockets: given(sockets), dies: dies, clusters: clusters, cores: given(cores), threads: given(threads))
        try check(levels.sockets)
        try check(dies)
        try check(clusters)
        try check(levels.cores)
        try check(levels.threads)
        let maximum = given(maxcpus) ?? levels.product ?? cpus
        guard (1...CPUTopology.limit).contains(maximum) else { throw .maxcpusOutOfRange(maximum) }
        guard maximum >= cpus else { throw .maxcpusBelowCPUs(cpus: cpus, maxcpus: maximum) }
        levels.derive(maxcpus: maximum)
        guard let sockets = levels.sockets, let cores = levels.cores, let threads = levels.threads, levels.product == maximum else {
            throw .productMismatch(
                sockets: levels.sockets ?? 1, dies: dies, clusters: clusters, cores: levels.cores ?? 1, threads: levels.threads ?? 1,
                maxcpus: maximum)
        }
        (self.cpus, self.maxcpus) = (cpus, maximum)
        (self.sockets, self.dies, self.clusters, self.cores, self.threads) = (sockets, dies, clusters, cores, threads)
    }

    /// Where a vCPU sits: each number counts within the level above.
    public struct Place: Equatable, Sendable {
        public let socket: Int, die: Int, cluster: Int, core: Int, thread: Int
    }

    /// The place of vCPU `index`: threads are neighbours, then cores, clusters, dies.
    public func place(of index: Int) -> Place {
        var rest = max(0, index)
        func take(_ count: Int) -> Int {
            defer { rest /= count }
            return rest % count
        }
        let thread = take(threads)
        let core = take(cores)
        let cluster = take(clusters)
        let die = take(dies)
        return Place(socket: rest, die: die, cluster: cluster, core: core, thread: thread)
    }
}

/// The levels while some are not yet known.
private struct Levels {
    var sockets: Int?
    var dies: Int
    var clusters: Int
    var cores: Int?
    var threads: Int?

    /// Nil when a level is unknown or the product is out of any range.
    var product: Int? {
        var product = 1
        for level in [sockets, dies, clusters, cores, threads] {
            guard let level else { return nil }
            let (next, overflow) = product.multipliedReportingOverflow(by: level)
            if overflow { return nil }
            product = next
        }
        return product
    }

    /// Fills one level with what the others leave of `maxcpus`, and every other unknown one with 1.
    mutating func derive(maxcpus: Int) {
        func rest(_ levels: Levels) -> Int { levels.product.map { max(1, maxcpus / $0) } ?? 1 }
        if cores == nil {
            (sockets, threads) = (sockets ?? 1, threads ?? 1)
            cores = rest(Levels(sockets: sockets, dies: dies, clusters: clusters, cores: 1, threads: threads))
        } else if sockets == nil {
            threads = threads ?? 1
            sockets = rest(Levels(sockets: 1, dies: dies, clusters: clusters, cores: cores, threads: threads))
        } else if threads == nil {
            threads = rest(Levels(sockets: sockets, dies: dies, clusters: clusters, cores: cores, threads: 1))
        }
    }
}

/// Why a `-smp` makes no machine. `description` is one sentence for the user.
public enum CPUTopologyError: Error, Equatable, Sendable, CustomStringConvertible {
    case cpusOutOfRange(Int)
    case maxcpusOutOfRange(Int)
    case maxcpusBelowCPUs(cpus: Int, maxcpus: Int)
    case levelOutOfRange(Int)
    case productMismatch(sockets: Int, dies: Int, clusters: Int, cores: Int, threads: Int, maxcpus: Int)

    public var description: String {
        switch self {
        case .cpusOutOfRange(let n): "the number of vCPUs must be from 1 to \(CPUTopology.limit), not \(n)"
        case .maxcpusOutOfRange(let n): "maxcpus must be from 1 to \(CPUTopology.limit), not \(n)"
        case .maxcpusBelowCPUs(let cpus, let maxcpus): "maxcpus (\(maxcpus)) must not be below the number of vCPUs (\(cpus))"
        case .levelOutOfRange(let n): "sockets, dies, clusters, cores and threads must be 1 or more, not \(n)"
        case .productMismatch(let sockets, let dies, let clusters, let cores, let threads, let maxcpus):
            "sockets (\(sockets)) * dies (\(dies)) * clusters (\(clusters)) * cores (\(cores)) * threads (\(threads)) must be maxcpus (\(maxcpus))"
        }
    }
}
