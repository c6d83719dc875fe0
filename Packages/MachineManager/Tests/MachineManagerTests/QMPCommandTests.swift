import Testing

@testable import MachineManager

/// What the server answers, byte for byte.
@Suite(.timeLimit(.minutes(1))) struct QMPCommandTests {
    @Test func greeting_isWhatClientsExpect() throws {
        let server = try TestServer()
        let expected =
            "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":1,\"minor\":0,\"major\":5},\"package\":\"StratoVirt-\(ProductVersion.text)\"},\"capabilities\":[]}}\r\n"
        #expect(try server.client().line() == expected)
        #expect(try TestClient(port: server.port).line() == expected)
    }

    @Test(arguments: [
        ("qmp_capabilities", "{}"),
        ("query-version", "{\"qemu\":{\"micro\":1,\"minor\":0,\"major\":5},\"package\":\"StratoVirt-\(ProductVersion.text)\"}"),
        ("query-status", "{\"status\":\"running\",\"running\":true,\"singlestep\":false}"),
        ("stop", "{}"), ("system_powerdown", "{}"), ("quit", "{}"),
    ])
    func command_returns(_ command: String, _ expected: String) throws {
        let server = try TestServer()
        let client = try server.client()
        _ = client.line()
        client.send("{\"execute\":\"\(command)\"}\r\n")
        #expect(client.line() == "{\"return\":\(expected)}\r\n")
    }

    @Test(arguments: [(GuestArchitecture.x86_64, "x86_64", "x86", "host-x86_64-cpu"), (.aarch64, "aarch64", "arm", "host-arm-cpu")])
    func queryCPUs_tellsThreadAndPlace(_ architecture: GuestArchitecture, _ target: String, _ processor: String, _ type: String) throws {
        let server = try TestServer(architecture: architecture)
        let client = try server.client()
        _ = client.line()
        client.send("{\"execute\":\"query-cpus\"}{\"execute\":\"query-hotpluggable-cpus\"}{\"execute\":\"query-target\"}{\"execute\":\"query-gic-capabilities\"}")
        func cpu(_ id: Int) -> String {
            "{\"CPU\":\(id),\"current\":\(id == 0),\"halted\":false,\"qom_path\":\"/machine/unattached/device[\(id)]\",\"thread_id\":\(100 + id),"
                + "\"arch\":\"\(processor)\",\"props\":{\"socket-id\":\(id),\"die-id\":0,\"core-id\":0,\"thread-id\":0}}"
        }
        #expect(client.line() == "{\"return\":[\(cpu(0)),\(cpu(1))]}\r\n")
        #expect(
            client.line()
                == "{\"return\":[{\"type\":\"\(type)\",\"vcpus-count\":1,\"props\":{\"socket-id\":0,\"die-id\":1,\"core-id\":2,\"thread-id\":3},"
                + "\"qom-path\":\"/machine/unattached/device[0]\"},"
                + "{\"type\":\"\(type)\",\"vcpus-count\":1,\"props\":{\"socket-id\":1,\"die-id\":0,\"core-id\":0,\"thread-id\":0}}]}\r\n")
        #expect(client.line() == "{\"return\":{\"arch\":\"\(target)\"}}\r\n")
        let gic = architecture == .aarch64 ? "{\"version\":2,\"emulated\":false,\"kernel\":true}" : ""
        #expect(client.line() == "{\"return\":[\(gic)]}\r\n")
    }

    @Test(arguments: [
        "{\"execute\":\"nonsense\"}": ["CommandNotFound", "unknown command 'nonsense'"],
        "{\"execute\":\"migrate\",\"arguments\":{}}": ["CommandNotFound", "unknown command 'migrate'"],
        "{\"execute\":\"stop\",\"arguments\":{\"now\":1}}": ["GenericError", "stop: unknown argument 'now'"],
        "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}": ["GenericError", "capability 'oob' is not available"],
        "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":true}}":
            ["GenericError", "qmp_capabilities: argument 'enable' must be a list"],
        "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[1]}}":
            ["GenericError", "qmp_capabilities: argument 'enable[]' must be a string"],
        "{\"execute\":\"stop\",\"arguments\":[]}": ["GenericError", "'arguments' must be an object"],
        "{\"execute\":\"stop\",\"arguments\":null}": ["GenericError", "'arguments' must be an object"],
        "{\"execute\":1}": ["GenericError", "'execute' must be a string"],
        "{\"exec-oob\":\"stop\"}": ["GenericError", "out-of-band execution is not supported"],
        "{\"execute\":\"stop\",\"control\":{}}": ["GenericError", "out-of-band execution is not supported"],
        "{\"execute\":\"stop\",\"extra\":1}": ["GenericError", "unknown key 'extra' in a request"],
        "{}": ["GenericError", "'execute' is missing"],
        "[]": ["GenericError", "a request must be a JSON object"],
        "12\n": ["GenericError", "a request must be a JSON object"],
        "{\"execute\":\"system_reset\"}": ["GenericError", "no reset line"],
        "{\"execute\":\"cont\"}": ["GenericError", "the virtual machine is running already"],
        "{\"execute\":stop}": ["GenericError", "JSON parse error: invalid word"],
        "{\"execute\":\"stop\"]\n": ["GenericError", "JSON parse error: unexpected ']'"],
        "GET / HTTP/1.1\n": ["GenericError", "JSON parse error: unexpected 'G'"],
        "{\"execute\":\"\u{1}\"}": ["GenericError", "JSON parse error: control character in a string"],
        "{\"execute\":\"stop\",\"execute\":\"quit\"}": ["GenericError", "JSON parse error: duplicate key in an object"],
        "{\"execute\":\"stop\",\"id\":1e999}": ["GenericError", "JSON parse error: number out of range"],
    ])
    func wrongRequest_hasItsError_andTheConnectionSurvives(_ request: String, _ expected: [String]) throws {
        let server = try TestServer()
        let client = try server.client()
        _ = client.line()
        client.send(request)
        #expect(try client.error() == expected)
        client.send("{\"execute\":\"query-status\",\"id\":7}")
        #expect(try client.message()["id"] == 7)
        #expect(server.machine.status() == .running && server.machine.quits == 0)
    }

    @Test(arguments: [
        "1", "-5", "18446744073709551615", "1.5", "1e+20", "\"a\\\"\\u0000é😀\"", "null", "true", "false", "[]", "{}", "[1,{\"a\":[null,\"x\"]}]",
        "{\"b\":1,\"a\":2}",
    ])
    func id_ofAnyType_comesBackInReturnsAndErrors(_ id: String) throws {
        let server = try TestServer()
        let client = try server.client()
        _ = client.line()
        for (request, key) in [("\"execute\":\"query-version\"", "return"), ("\"execute\":\"bad\"", "error"), ("\"bad\":1", "error")] {
            client.send("{\"id\":\(id),\(request)}")
            let line = try #require(client.line())
            #expect(line.hasPrefix("{\"\(key)\":"))
            #expect(line.hasSuffix(",\"id\":\(id)}\r\n"))
        }
    }

    @Test func stopAndCont_inEveryState() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.negotiate()
        client.send("{\"execute\":\"stop\"}{\"execute\":\"stop\"}{\"execute\":\"query-status\"}")
        #expect(try client.message() == ["return": [:]])
        #expect(try client.event() == "STOP")
        // Stopping what is stopped changes nothing and tells nothing.
        #expect(try client.message() == ["return": [:]])
        #expect(try client.message() == ["return": ["status": "paused", "running": false, "singlestep": false]])
        client.send("{\"execute\":\"cont\"}{\"execute\":\"cont\"}")
        #expect(try client.message() == ["return": [:]])
        #expect(try client.event() == "RESUME")
        #expect(try client.error() == ["GenericError", "the virtual machine is running already"])
    }

    @Test func events_haveTheirData() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.negotiate()
        let events: [(MachineEvent, String, JSONValue?)] = [
            (.stop, "STOP", nil), (.resume, "RESUME", nil), (.powerdown, "POWERDOWN", nil),
            (.reset(guest: true), "RESET", ["guest": true, "reason": "guest-reset"]),
            (.reset(guest: false), "RESET", ["guest": false, "reason": "host-qmp-system-reset"]),
            (.shutdown(.quitCommand), "SHUTDOWN", ["guest": false, "reason": "host-qmp-quit"]),
            (.shutdown(.guestShutdown), "SHUTDOWN", ["guest": true, "reason": "guest-shutdown"]),
            (.shutdown(.signal(15)), "SHUTDOWN", ["guest": false, "reason": "Guest shutdown by signal 15"]),
            (.balloonChanged(actual: 1 << 29), "BALLOON_CHANGED", ["actual": 536_870_912]),
            (.deviceDeleted(id: "net1", path: "/machine/peripheral/net1"), "DEVICE_DELETED", ["device": "net1", "path": "/machine/peripheral/net1"]),
            (.streamConnected(id: "n", .unix(path: "/p")), "NETDEV_STREAM_CONNECTED", ["netdev-id": "n", "addr": ["type": "unix", "path": "/p"]]),
            (.streamConnected(id: "n", .inet(host: "::1", port: 8)), "NETDEV_STREAM_CONNECTED",
             ["netdev-id": "n", "addr": ["type": "inet", "host": "::1", "port": "8"]]),
            (.streamDisconnected(id: "n"), "NETDEV_STREAM_DISCONNECTED", ["netdev-id": "n"]),
            (.shutdown(.failure("vCPU 0: \"bad\"")), "SHUTDOWN", ["guest": false, "reason": "vCPU 0: \"bad\""]),
        ]
        for (event, name, data) in events {
            server.server.emit(event)
            let message = try client.message()
            #expect(message["event"] == .string(name))
            #expect(message["data"] == data)
        }
    }

    @Test func vmState_allowsOnlyItsTransitions() {
        let all: [VMState] = [.created, .running, .paused, .shutdown]
        let paths: [VMState: [VMState]] = [.created: [], .running: [.running], .paused: [.running, .paused], .shutdown: [.shutdown]]
        let allowed: [VMState: [VMState: Bool]] = [
            .created: [.running: true, .paused: true, .shutdown: true], .running: [.paused: true, .shutdown: true],
            .paused: [.running: true, .paused: false, .shutdown: true], .shutdown: [.shutdown: false],
        ]
        for from in all {
            for to in all {
                var machine = VMStateMachine()
                for step in paths[from] ?? [] { _ = try? machine.change(to: step) }
                #expect(machine.state == from)
                #expect((try? machine.change(to: to)) == allowed[from]?[to])
                #expect(machine.state == (allowed[from]?[to] == nil ? from : to))
            }
        }
    }
}
