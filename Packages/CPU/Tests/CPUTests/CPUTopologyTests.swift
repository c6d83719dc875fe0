@testable import CPU
import Testing

@Suite struct CPUTopologyTests {
    @Test func derive_onlyCPUsGiven_makesCoresOfOneSocket() throws {
        let t = try CPUTopology(cpus: 8)
        #expect((t.maxcpus, t.sockets, t.dies, t.clusters) == (8, 1, 1, 1))
        #expect((t.cores, t.threads) == (8, 1))
    }

    @Test func derive_someLevelsGiven_fillsTheRest() throws {
        let sockets = try CPUTopology(cpus: 8, sockets: 2)
        #expect((sockets.sockets, sockets.cores, sockets.threads) == (2, 4, 1))
        let threads = try CPUTopology(cpus: 8, threads: 2)
        #expect((threads.sockets, threads.cores, threads.threads) == (1, 4, 2))
        let cores = try CPUTopology(cpus: 8, cores: 2)
        #expect((cores.sockets, cores.cores, cores.threads) == (4, 2, 1))
        let both = try CPUTopology(cpus: 8, sockets: 2, cores: 2)
        #expect((both.sockets, both.cores, both.threads) == (2, 2, 2))
        let dies = try CPUTopology(cpus: 16, dies: 2, clusters: 2)
        #expect((dies.sockets, dies.cores, dies.threads) == (1, 4, 1))
    }

    @Test func derive_zeroMeansAuto_asOnTheCommandLine() throws {
        #expect(try CPUTopology(cpus: 4, maxcpus: 0, sockets: 0, cores: 0) == CPUTopology(cpus: 4))
    }

    @Test func maxcpus_notGiven_isTheProductOfAllLevels() throws {
        #expect(try CPUTopology(cpus: 2, sockets: 2, cores: 2, threads: 2).maxcpus == 8)
        #expect(try CPUTopology(cpus: 2, maxcpus: 6).cores == 6)
    }

    @Test func errors_eachKind_isOneSentenceWithTheNumbers() {
        func message(_ body: () throws(CPUTopologyError) -> CPUTopology) -> String {
            do throws(CPUTopologyError) { _ = try body(); return "" } catch { return error.description }
        }
        #expect(message { () throws(CPUTopologyError) in try CPUTopology(cpus: 0) } == "the number of vCPUs must be from 1 to 254, not 0")
        #expect(message { () throws(CPUTopologyError) in try CPUTopology(cpus: 255) } == "the number of vCPUs must be from 1 to 254, not 255")
        #expect(message { () throws(CPUTopologyError) in try CPUTopology(cpus: 4, maxcpus: 3) }
            == "maxcpus (3) must not be below the number of vCPUs (4)")
        #expect(message { () throws(CPUTopologyError) in try CPUTopology(cpus: 1, maxcpus: 255) } == "maxcpus must be from 1 to 254, not 255")
        #expect(message { () throws(CPUTopologyError) in try CPUTopology(cpus: 4, cores: -1) }
            == "sockets, dies, clusters, cores and threads must be 1 or more, not -1")
        #expect(message { () throws(CPUTopologyError) in try CPUTopology(cpus: 3, sockets: 2) }
            == "sockets (2) * dies (1) * clusters (1) * cores (1) * threads (1) must be maxcpus (3)")
    }

    @Test func levels_hugeNumbers_areErrorsNotOverflows() {
        #expect(throws: CPUTopologyError.self) { try CPUTopology(cpus: 1, sockets: .max, cores: .max, threads: .max) }
        #expect(throws: CPUTopologyError.self) { try CPUTopology(cpus: 1, dies: .max, clusters: .max) }
        #expect(throws: CPUTopologyError.self) { try CPUTopology(cpus: 1, maxcpus: 254, sockets: .max) }
    }

    @Test func apicIDs_everySmallTopology_areUniqueAndFitEightBits() throws {
        for sockets in 1...6 { for dies in 1...3 { for clusters in 1...2 { for cores in 1...7 { for threads in 1...3 {
            guard let t = try? CPUTopology(
                cpus: 1, sockets: sockets, dies: dies, clusters: clusters, cores: cores, threads: threads) else { continue }
            let ids = (0..<t.maxcpus).map(t.apicID)
            #expect(Set(ids).count == t.maxcpus)
            #expect(ids.allSatisfy { $0 <= 254 })
            #expect(ids == ids.sorted())
        } } } } }
    }

    @Test func apicIDs_oneSocketOfOneThreadACore_areTheIndices() throws {
        for cpus in [1, 2, 3, 8, 254] {
            let t = try CPUTopology(cpus: cpus)
            #expect((0..<cpus).map(t.apicID) == (0..<cpus).map { UInt32($0) })
        }
    }

    @Test func apicIDs_coresNotAPowerOfTwo_leaveGapsBetweenSockets() throws {
        let t = try CPUTopology(cpus: 6, sockets: 2, cores: 3)
        #expect((0..<6).map(t.apicID) == [0, 1, 2, 4, 5, 6])
        // With gaps ids would reach 399: consecutive instead.
        let wide = try CPUTopology(cpus: 250, sockets: 50, cores: 5)
        #expect((0..<250).map(wide.apicID) == (0..<250).map { UInt32($0) })
    }

    @Test func place_ofEachIndex_countsThreadsFirst() throws {
        let t = try CPUTopology(cpus: 16, sockets: 2, dies: 2, cores: 2, threads: 2)
        #expect(t.place(of: 0) == .init(socket: 0, die: 0, cluster: 0, core: 0, thread: 0))
        #expect(t.place(of: 3) == .init(socket: 0, die: 0, cluster: 0, core: 1, thread: 1))
        #expect(t.place(of: 4) == .init(socket: 0, die: 1, cluster: 0, core: 0, thread: 0))
        #expect(t.place(of: 15) == .init(socket: 1, die: 1, cluster: 0, core: 1, thread: 1))
    }
}
