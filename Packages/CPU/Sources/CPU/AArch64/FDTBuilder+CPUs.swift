public import FDT

/// The nodes of a device tree that tell of processors, to be written inside the root (kernel Documentation/devicetree/bindings/arm/cpus.yaml,
/// cpu/cpu-topology.txt, numa.txt).
extension FDTBuilder {
    /// The phandle of vCPU 0; the others follow. Everything else in a tree stays below.
    public static let firstCPUPhandle: UInt32 = 0x100

    /// `cpus`, with one node for each vCPU that is there and, for more than one, the map of how they belong together.
    ///
    /// - Parameters:
    ///   - mpidrs: MPIDR_EL1 of each vCPU in the order of their indices; all bits but the affinity are ignored.
    ///   - nodeOf: the NUMA node of a vCPU, by its index; nil when it is in none.
    public mutating func cpus(topology: CPUTopology, mpidrs: [UInt64], nodeOf: (Int) -> UInt32?) throws(FDTError) {
        try beginNode("cpus")
        // Two cells, since affinity level 3 is in bits 32...39.
        try property("#address-cells", cells: [2])
        try property("#size-cells", cells: [0])
        // One processor has nobody to start and no topology (cpu-topology.txt 2).
        let isSMP = mpidrs.count > 1
        if isSMP { try cpuMap(topology: topology, count: mpidrs.count) }
        for (index, mpidr) in mpidrs.enumerated() {
            let affinity = mpidr & 0xFF_00FF_FFFF
            try beginNode("cpu@\(String(affinity, radix: 16))")
            try property("device_type", "cpu")
            try property("compatible", "arm,armv8")
            try property("reg", doubleCells: [affinity])
            if isSMP { try property("enable-method", "psci") }
            if let node = nodeOf(index) { try property("numa-node-id", cells: [node]) }
            try property("phandle", cells: [Self.cpuPhandle(index)])
            try endNode()
        }
        try endNode()
    }

    private static func cpuPhandle(_ index: Int) -> UInt32 { firstCPUPhandle &+ UInt32(clamping: index) }

    /// vCPUs come in the order of their places, so that a level's node is complete when the next one begins.
    private mutating func cpuMap(topology: CPUTopology, count: Int) throws(FDTError) {
        try beginNode("cpu-map")
        var open: [String] = []
        for index in 0..<count {
            let path = Self.cpuMapPath(topology, index)
            let common = zip(open, path).prefix { $0 == $1 }.count
            for _ in common..<open.count { try endNode() }
            for name in path[common...] { try beginNode(name) }
            try property("cpu", cells: [Self.cpuPhandle(index)])
            open = path
        }
        for _ in open { try endNode() }
        try endNode()
    }

    /// The binding has no dies. Clusters of clusters would be the next best, but Linux takes those of different parents for the same one if their numbers
    /// are; so the clusters of all dies of a socket are counted through, and a die of one cluster is a cluster. Cores of one thread are leaves.
    private static func cpuMapPath(_ topology: CPUTopology, _ index: Int) -> [String] {
        let place = topology.place(of: index)
        let path = ["socket\(place.socket)", "cluster\(place.die * topology.clusters + place.cluster)", "core\(place.core)"]
        return topology.threads > 1 ? path + ["thread\(place.thread)"] : path
    }
}
