import Testing

@testable import MachineManager

/// query-stats, query-stats-schemas and query-blockstats.
@Suite struct QMPStatisticsTests {
    private let desk = Desk()
    private static let cpus = (0...1).map { "/machine/unattached/device[\($0)]" }

    private func plug() {
        _ = desk.say("blockdev-add", #"{"node-name":"d","file":{"driver":"file","filename":"/x"}}"#)
        _ = desk.say("device_add", #"{"id":"disk1","drive":"d","driver":"virtio-blk-mmio"}"#)
        _ = desk.say("device_add", #"{"id":"net1","driver":"virtio-net-mmio"}"#)
    }

    @Test func targets_areAnsweredInQEMUsShape() {
        #expect(
            desk.say("query-stats", #"{"target":"vm"}"#)
                == #"[{"provider":"kvm","stats":[{"name":"mmu_cache_miss","value":18446744073709551615}]},"#
                + #"{"provider":"stratovirt","stats":[{"name":"uptime","value":5}]}]"#)
        #expect(
            desk.say("query-stats", #"{"target":"vcpu","vcpus":["\#(Self.cpus[1])"],"providers":[{"provider":"kvm"}]}"#)
                == #"[{"provider":"kvm","qom-path":"\#(Self.cpus[1])","stats":[{"name":"exits","value":11},{"name":"blocking","value":true},"#
                + #"{"name":"halt_wait_hist","value":[1,2,3]},{"name":"slices","value":[4]}]}]"#)
        plug()
        #expect(
            desk.say("query-stats", #"{"target":"device","devices":["/machine/peripheral/net1"]}"#)
                == #"[{"provider":"stratovirt","qom-path":"/machine/peripheral/net1","stats":[{"name":"requests","value":4},{"name":"other","value":2}]}]"#)
    }

    /// The objects of an answer, as "provider path: names".
    private func summary(_ arguments: String) -> [String] {
        guard case .array(let list)? = desk.returned("query-stats", arguments) else { return ["no list"] }
        return list.map { element in
            guard case .object(let object) = element, case .string(let provider)? = object["provider"], case .array(let stats)? = object["stats"] else { return "?" }
            let names = stats.map { stat in if case .object(let stat) = stat, case .string(let name)? = stat["name"] { name } else { "?" } }
            let path = if case .string(let path)? = object["qom-path"] { path.suffix(3) } else { "" as Substring }
            return "\(provider) \(path): \(names.joined(separator: " "))"
        }
    }

    @Test func filters_chooseProvidersNamesAndObjects() {
        plug()
        #expect(summary(#"{"target":"vcpu"}"#).map { $0.prefix(while: { $0 != ":" }) } == ["kvm [0]", "kvm [1]", "stratovirt [0]", "stratovirt [1]"])
        #expect(
            summary(#"{"target":"vcpu","providers":[{"provider":"stratovirt","names":["pio-reads"]},{"provider":"kvm","names":["exits","nonsense"]}]}"#)
                == ["kvm [0]: exits", "kvm [1]: exits", "stratovirt [0]: pio-reads", "stratovirt [1]: pio-reads"])
        // A provider twice is asked twice.
        #expect(
            summary(#"{"target":"vm","providers":[{"provider":"stratovirt","names":["uptime"]},{"provider":"stratovirt"}]}"#)
                == ["stratovirt : uptime", "stratovirt : uptime"])
        // Names that only some have; none at all; no provider; no vCPU; vCPUs that are not there.
        #expect(summary(#"{"target":"device","providers":[{"provider":"stratovirt","names":["own"]}]}"#) == ["stratovirt sk1: own"])
        #expect(summary(#"{"target":"vcpu","providers":[{"provider":"kvm","names":["nonsense"]}]}"#) == [])
        #expect(summary(#"{"target":"vcpu","providers":[{"provider":"kvm","names":[]}]}"#) == [])
        #expect(summary(#"{"target":"vcpu","providers":[]}"#) == [])
        #expect(summary(#"{"target":"vcpu","vcpus":[]}"#) == [])
        #expect(summary(#"{"target":"vcpu","vcpus":["/machine","/machine/unattached/device[9]"]}"#) == [])
        #expect(summary(#"{"target":"device","devices":[]}"#) == [])
        #expect(summary(#"{"target":"device","providers":[{"provider":"kvm"}]}"#) == [])
    }

    @Test(arguments: [
        ("{}", "GenericError: query-stats: argument 'target' is missing"),
        (#"{"target":"cryptodev"}"#, "GenericError: query-stats: argument 'target' must be 'vm' or 'vcpu' or 'device'"),
        (#"{"target":"vm","vcpus":[]}"#, "GenericError: query-stats: argument 'vcpus' goes with target 'vcpu'"),
        (#"{"target":"vcpu","devices":[]}"#, "GenericError: query-stats: argument 'devices' goes with target 'device'"),
        (#"{"target":"vm","providers":[{}]}"#, "GenericError: query-stats: argument 'providers[].provider' is missing"),
        (#"{"target":"vm","providers":[{"provider":"x"}]}"#, "GenericError: query-stats: argument 'providers[].provider' must be 'kvm' or 'stratovirt'"),
        (#"{"target":"vm","providers":[{"provider":"kvm","names":[1]}]}"#, "GenericError: query-stats: argument 'providers[].names[]' must be a string"),
        (#"{"target":"vcpu","vcpus":"x"}"#, "GenericError: query-stats: argument 'vcpus' must be a list"),
    ])
    func wrongFilters_areNamed(_ arguments: String, _ expected: String) {
        #expect(desk.say("query-stats", arguments) == expected)
    }

    @Test func schemas_describeEachStatisticOnce() {
        plug()
        let vcpu =
            #"{"provider":"kvm","target":"vcpu","stats":[{"name":"exits","type":"cumulative","exponent":0},"#
            + #"{"name":"blocking","type":"instant","unit":"boolean","exponent":0},"#
            + #"{"name":"halt_wait_hist","type":"log2-histogram","unit":"seconds","base":10,"exponent":-9},"#
            + #"{"name":"slices","type":"linear-histogram","unit":"bytes","base":2,"exponent":10,"bucket-size":8}]}"#
        #expect(
            desk.say("query-stats-schemas", #"{"provider":"kvm"}"#)
                == #"[{"provider":"kvm","target":"vm","stats":[{"name":"mmu_cache_miss","type":"peak","exponent":0}]},"# + vcpu + "]")
        let own = desk.say("query-stats-schemas", #"{"provider":"stratovirt"}"#)
        #expect(own.hasSuffix(
            #"{"provider":"stratovirt","target":"device","stats":[{"name":"requests","type":"cumulative","exponent":0},"#
                + #"{"name":"own","type":"cumulative","exponent":0},{"name":"other","type":"cumulative","exponent":0}]}]"#))
        #expect(desk.say("query-stats-schemas", #"{"provider":"cryptodev"}"#).hasPrefix("GenericError"))
    }

    @Test func blockstats_haveQEMUsMembers() {
        plug()
        _ = desk.say("blockdev-add", #"{"node-name":"idle","file":{"driver":"file","filename":"/y"}}"#)
        let stats =
            #""stats":{"rd_operations":3,"rd_total_time_ns":0,"failed_rd_operations":0,"invalid_rd_operations":0,"rd_bytes":1536,"rd_merged":0,"#
            + #""wr_operations":0,"wr_total_time_ns":18446744073709551615,"failed_wr_operations":0,"invalid_wr_operations":0,"wr_bytes":0,"wr_merged":0,"#
            + #""unmap_operations":0,"unmap_total_time_ns":0,"failed_unmap_operations":0,"invalid_unmap_operations":0,"unmap_bytes":0,"unmap_merged":0,"#
            + #""flush_operations":0,"flush_total_time_ns":0,"failed_flush_operations":0,"invalid_flush_operations":0,"wr_highest_offset":1048576,"#
            + #""account_invalid":true,"account_failed":true,"timed_stats":[]}"#
        #expect(desk.say("query-blockstats") == #"[{"device":"d","qdev":"/machine/peripheral/disk1","node-name":"d",\#(stats)}]"#)
        #expect(desk.say("query-blockstats", #"{"query-nodes":true}"#) == #"[{"node-name":"d",\#(stats)},{"node-name":"idle",\#(stats)}]"#)
    }
}
