import Testing

@testable import MachineManager

@Suite struct QMPThrottleTests {
    private let desk = Desk()
    private let none = #""bps":0,"bps_rd":0,"bps_wr":0,"iops":0,"iops_rd":0,"iops_wr":0"#

    init() { _ = desk.say("blockdev-add", #"{"node-name":"d","file":{"driver":"file","filename":"/x"},"throttling.bps-write":9,"cache":{"no-flush":true}}"#) }

    private var throttle: VmConfig.Throttle? { desk.machine.nodes.first?.throttle }

    @Test func blockdevAdd_takesEveryLimit() {
        #expect(throttle?[.bytesWrite].average == 9)
        #expect(desk.machine.nodes.first?.ignoresFlushes == true)
        #expect(desk.say("query-block").contains(#""bps":0,"bps_rd":0,"bps_wr":9,"iops":0"#))
        #expect(desk.say("query-block").contains(#""no-flush":true"#))
    }

    @Test func limits_areReplacedAsAWhole_andQueryBlockTellsThem() {
        #expect(
            desk.say(
                "block_set_io_throttle",
                #"{"device":"d","bps":0,"bps_rd":0,"bps_wr":0,"iops":100,"iops_rd":0,"iops_wr":0,"iops_max":200,"iops_max_length":5,"iops_size":4096}"#) == "{}")
        var expected = VmConfig.Throttle()
        expected[.requestsTotal] = .init(average: 100, burst: 200, burstSeconds: 5)
        expected.requestSize = 4096
        #expect(throttle == expected)
        #expect(desk.say("query-block").contains(#""iops":100,"iops_rd":0,"iops_wr":0,"iops_max":200,"iops_max_length":5,"iops_size":4096,"#))
        #expect(desk.say("block_set_io_throttle", "{\"id\":\"d\",\(none)}") == "{}")
        #expect(throttle?.isUnlimited == true)
    }

    @Test func wrongLimits_changeNothing() {
        let before = throttle
        for (arguments, expected) in [
            ("{\(none)}", "block_set_io_throttle: argument 'id' is missing"),
            ("{\"id\":\"ghost\",\(none)}", "there is nothing with the id 'ghost'"),
            (#"{"id":"d","bps":1}"#, "block_set_io_throttle: argument 'bps_rd' is missing"),
            ("{\"id\":\"d\",\(none),\"group\":\"g\"}", "block_set_io_throttle: unknown argument 'group'"),
            ("{\"id\":\"d\",\(none),\"iops_max\":5}", "block_set_io_throttle: 'iops_max' needs 'iops'"),
            ("{\"id\":\"d\",\(none),\"iops_rd_max_length\":5}", "block_set_io_throttle: 'iops_rd_max_length' needs 'iops_rd_max'"),
            ("{\"id\":\"d\",\(none),\"iops_size\":5}", "block_set_io_throttle: 'iops_size' needs a limit of requests"),
            (
                #"{"id":"d","bps":5,"bps_rd":0,"bps_wr":5,"iops":0,"iops_rd":0,"iops_wr":0}"#,
                "block_set_io_throttle: 'bps' and 'bps_wr' exclude each other"
            ),
            (
                #"{"id":"d","bps":-1,"bps_rd":0,"bps_wr":5,"iops":0,"iops_rd":0,"iops_wr":0}"#,
                "block_set_io_throttle: argument 'bps' must be a whole number from 0 to 1000000000000000, plain or as a string"
            ),
        ] {
            #expect(desk.say("block_set_io_throttle", arguments).split(separator: ": ", maxSplits: 1).last.map(String.init) == expected)
        }
        #expect(throttle == before)
    }
}
