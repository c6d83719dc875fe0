import CPU
import Testing

@Test func topology_onlyCPUsGiven_becomesCoresOfOneSocket() throws {
    let topology = try CPUTopology(cpus: 8)
    #expect((topology.maxcpus, topology.sockets, topology.cores, topology.threads) == (8, 1, 8, 1))
}
