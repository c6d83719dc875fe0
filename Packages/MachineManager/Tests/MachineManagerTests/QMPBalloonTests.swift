import Testing

@testable import MachineManager

@Suite struct QMPBalloonTests {
    private let desk = Desk()
    private static let path = #""path":"/machine/peripheral/balloon0""#

    private func inflate(_ change: (inout BalloonInfo) -> Void = { _ in }) {
        var balloon = BalloonInfo(id: "balloon0", actual: 1 << 30, deflatesOnOOM: true)
        change(&balloon)
        desk.machine.state.withLock { $0.balloon = balloon }
    }

    @Test func withoutABalloon_itIsNotActive() {
        #expect(desk.say("balloon", #"{"value":1073741824}"#) == "DeviceNotActive: No balloon device has been activated")
        #expect(desk.say("query-balloon") == "DeviceNotActive: No balloon device has been activated")
        #expect(desk.say("qom-get", "{\(Self.path),\"property\":\"guest-stats\"}").hasPrefix("DeviceNotFound: "))
    }

    @Test func size_isSetAndAsked() {
        inflate()
        #expect(desk.say("query-balloon") == #"{"actual":1073741824}"#)
        #expect(desk.say("balloon", #"{"value":536870912}"#) == "{}")
        #expect(desk.say("query-balloon") == #"{"actual":536870912}"#)
        // More than there is means all.
        #expect(desk.say("balloon", #"{"value":9223372036854775807}"#) == "{}")
        #expect(desk.say("query-balloon") == #"{"actual":1073741824}"#)
    }

    @Test(arguments: ["0", "-1", "1.5", "\"1\"", "null", "18446744073709551615"]) func sizesThatAreNone_areRefused(_ value: String) {
        inflate()
        #expect(desk.say("balloon", "{\"value\":\(value)}") == "GenericError: balloon: argument 'value' must be a whole number from 1 to 9223372036854775807")
        #expect(desk.say("query-balloon") == #"{"actual":1073741824}"#)
    }

    @Test func statistics_haveTheNamesAndTheShapeOfQEMU() {
        inflate {
            $0.statistics = [0, 1, 2, 3, 4, 5, nil, .max - 1, 8]
            $0.lastUpdate = 1_763_840_000
        }
        #expect(
            desk.say("qom-get", "{\(Self.path),\"property\":\"guest-stats\"}")
                == #"{"stats":{"stat-swap-in":0,"stat-swap-out":1,"stat-major-faults":2,"stat-minor-faults":3,"stat-free-memory":4,"stat-total-memory":5,"#
                + #""stat-available-memory":18446744073709551615,"stat-disk-caches":18446744073709551614,"stat-htlb-pgalloc":8,"#
                + #""stat-htlb-pgfail":18446744073709551615},"last-update":1763840000}"#)
        #expect(desk.say("qom-get", "{\(Self.path),\"property\":\"deflate-on-oom\"}") == "true")
        #expect(desk.say("qom-get", "{\(Self.path),\"property\":\"free-page-reporting\"}") == "false")
    }

    @Test func pollingInterval_isSetAndAsked() {
        inflate()
        let property = #""property":"guest-stats-polling-interval""#
        func set(_ value: String) -> String { desk.say("qom-set", "{\(Self.path),\(property),\"value\":\(value)}") }
        for value in ["2", "0", "4294967295"] {
            #expect(set(value) == "{}")
            #expect(desk.say("qom-get", "{\(Self.path),\(property)}") == value)
        }
        for value in ["-1", "4294967296", "\"2\"", "1.5", "null", "[]"] {
            #expect(set(value) == "GenericError: qom-set: argument 'value' must be a whole number from 0 to 4294967295")
        }
        #expect(desk.say("qom-get", "{\(Self.path),\(property)}") == "4294967295")
    }

    @Test func otherProperties_areOnlyRead() {
        inflate()
        #expect(
            desk.say("qom-set", "{\(Self.path),\"property\":\"guest-stats\",\"value\":1}")
                == "GenericError: qom-set: property 'guest-stats' of '/machine/peripheral/balloon0' cannot be set")
        #expect(
            desk.say("qom-set", "{\(Self.path),\"property\":\"size\",\"value\":1}")
                == "GenericError: qom-set: '/machine/peripheral/balloon0' has no property 'size'")
        #expect(desk.say("qom-set", #"{"path":"/x","property":"size","value":1}"#) == "DeviceNotFound: there is no object at '/x'")
        #expect(desk.say("qom-set", #"{"path":"/machine","property":"type","value":"x"}"#) == "GenericError: qom-set: property 'type' of '/machine' cannot be set")
    }
}
