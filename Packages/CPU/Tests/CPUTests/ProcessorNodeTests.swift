@testable import CPU
import FDT
import FDTTesting
import HypervisorTesting
import Testing

@Suite struct ProcessorNodeTests {
    /// A tree of the processors' nodes alone, with an interrupt controller for them to point to.
    private func tree(
        _ topology: CPUTopology, nodes: [UInt32]? = nil, gicV2: Bool = false, limit: Int = FDTBuilder.defaultLimit
    ) throws -> [UInt8] {
        let mpidrs = (0..<topology.cpus).map { TestAArch64State.mpidr(vcpu: UInt32($0)) }
        var tree = try FDTBuilder(limit: limit)
        try tree.beginNode("")
        try tree.property("#address-cells", cells: [2])
        try tree.property("#size-cells", cells: [2])
        try tree.property("interrupt-parent", cells: [1])
        try tree.cpus(topology: topology, mpidrs: mpidrs) { nodes?[$0] }
        try tree.psci()
        let gicV2CPUs = gicV2 ? topology.cpus : 0
        try tree.timer(gicV2CPUs: gicV2CPUs)
        try tree.pmu(gicV2CPUs: gicV2CPUs)
        try tree.node("interrupt-controller") { (node) throws(FDTError) in
            try node.property("interrupt-controller")
            try node.property("#interrupt-cells", cells: [3])
            try node.property("#address-cells", cells: [0])
            try node.property("phandle", cells: [1])
        }
        try tree.endNode()
        return try tree.finish()
    }

    private func check(_ blob: [UInt8], _ name: String, _ location: SourceLocation = #_sourceLocation) throws {
        let tree = try DecompiledTree(blob)
        #expect(tree.warnings == "", sourceLocation: location)
        #expect(tree.source == (try? DecompiledTree.golden(name)), sourceLocation: location)
    }

    @Test func oneCPU_hasNoMapAndNobodyToStart() throws { try check(try tree(try CPUTopology()), "cpus-1") }

    @Test func eightCPUs_areCoresOfOneCluster() throws { try check(try tree(try CPUTopology(cpus: 8)), "cpus-8") }

    @Test func twoNodes_areNamedByEachCPU() throws {
        try check(try tree(try CPUTopology(cpus: 4, sockets: 2), nodes: [0, 0, 1, 1]), "cpus-4-nodes-2")
    }

    @Test func everyLevel_isInTheMap_andDiesAreClusters() throws {
        try check(try tree(try CPUTopology(cpus: 16, sockets: 2, dies: 2, clusters: 2, cores: 1, threads: 2)), "cpus-16-all-levels")
    }

    /// Fewer vCPUs than places: the last core has one thread, and the second socket is not there.
    @Test func placesThatAreNotFilled_areLeftOut() throws {
        try check(try tree(try CPUTopology(cpus: 3, maxcpus: 8, sockets: 2, cores: 2, threads: 2)), "cpus-3-of-8")
    }

    @Test func privateInterruptsOfAGICv2_nameTheirCPUs() throws {
        let source = try DecompiledTree(try tree(try CPUTopology(cpus: 4), gicV2: true)).source
        #expect(source.contains("interrupts = <0x01 0x0d 0xf08 0x01 0x0e 0xf08 0x01 0x0b 0xf08 0x01 0x0a 0xf08>;"))
        #expect(source.contains("interrupts = <0x01 0x07 0xf04>;"))
        // More than a GICv2 can have: no trap.
        #expect(try DecompiledTree(try tree(try CPUTopology(cpus: 40), gicV2: true)).source.contains("<0x01 0x07 0xff04>"))
    }

    @Test func pmuInterrupt_isTheOneOfTheNode() { #expect(FDTBuilder.pmuInterrupt == 16 + 7) }

    /// Unit address and cells are the affinity, without the bits of MPIDR_EL1 that say something else.
    @Test func affinity_ofAllFourLevels_isInRegAndName() throws {
        var tree = try FDTBuilder()
        try tree.beginNode("")
        try tree.cpus(topology: try CPUTopology(cpus: 2), mpidrs: [0xFFFF_FF12_FF34_5678, 0xC100_000F]) { _ in nil }
        try tree.endNode()
        let decompiled = try DecompiledTree(try tree.finish())
        #expect(decompiled.warnings == "")
        #expect(decompiled.source.contains("cpu@1200345678 {") && decompiled.source.contains("reg = <0x12 0x345678>;"))
        #expect(decompiled.source.contains("cpu@f {") && decompiled.source.contains("reg = <0x00 0x0f>;"))
    }

    /// The largest machines: each CPU is there once, and dtc finds nothing twice.
    @Test(arguments: [
        try CPUTopology(cpus: 254), try CPUTopology(cpus: 254, sockets: 127, cores: 1, threads: 2), try CPUTopology(cpus: 250, dies: 5, clusters: 5),
    ]) func manyCPUs_areAllThere(topology: CPUTopology) throws {
        let blob = try tree(topology, nodes: (0..<254).map { UInt32($0 % 8) }, limit: 1 << 20)
        let tree = try DecompiledTree(blob)
        #expect(tree.warnings == "")
        let lines = tree.source.split(separator: "\n").map { $0.drop { $0 == "\t" } }
        #expect(lines.filter { $0.hasPrefix("cpu@") }.count == topology.cpus)
        #expect(Set(lines.filter { $0.hasPrefix("cpu = ") }).count == topology.cpus)
        #expect(lines.contains("cpu = <0x100>;") && lines.contains("phandle = <0x100>;"))
        #expect(blob.count < 64 << 10, "\(blob.count) bytes")
    }
}
