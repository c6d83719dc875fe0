import Foundation
import Testing

/// Counters, traces and the boot timer of the whole program, over this machine's KVM.
@Suite struct NumbersTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func start(_ payload: Payload, _ more: [String] = [], cpus: Int = 2, serial: Bool = true, environment: String = "") throws -> Program {
        try folder.write("payload.bin", payload.bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
        let words = "-kernel payload.bin -m 128 -smp \(cpus) -drive file=disk.img,id=d,direct=off -device virtio-blk-device,drive=d "
            + "-qmp unix:q.sock,server,nowait \(serial ? "-serial stdio" : "") \(more.joined(separator: " "))"
        return try Program(["-c", "\(environment) exec '\(try Program.path)' \(words)"], executable: "/bin/sh", in: folder)
    }

    private func client() throws -> QMPClient {
        try until("QMP listens") { folder.names.contains("q.sock") }
        return try QMPClient.greeted(path: folder.path("q.sock"))
    }

    private func log() throws -> [String] {
        try String(contentsOf: folder.file("log"), encoding: .utf8).split(separator: "\n").map(String.init)
    }

    /// The statistics of one provider and target: name to value, for each object.
    private func statistics(_ client: QMPClient, _ provider: String, _ target: String) throws -> [[String: Any]] {
        let answer = try client.must("query-stats", #"{"target":"\#(target)","providers":[{"provider":"\#(provider)"}]}"#)
        return try #require(answer as? [QMPClient.Message]).map { object in
            let stats = try #require(object["stats"] as? [QMPClient.Message])
            return Dictionary(uniqueKeysWithValues: stats.compactMap { stat in (stat["name"] as? String).map { ($0, stat["value"] as Any) } })
        }
    }

    private func number(_ statistics: [String: Any], _ name: String) throws -> UInt64 { try #require((statistics[name] as? NSNumber)?.uint64Value, "\(name)") }

    @Test func exitsOfAGuest_areCountedByKVMAndByTheProgram() throws {
        let program = try start(Payload().chatter("."))
        try program.waitForOutput("...")
        let client = try client()
        let first = try statistics(client, "stratovirt", "vcpu"), kernel = try statistics(client, "kvm", "vcpu")
        #expect(first.count == 2 && kernel.count == 2)
        #expect(try number(first[0], "pio-writes") >= 3 && number(first[0], "exits") >= 3)
        #expect(try number(first[1], "pio-writes") == 0)
        // Each exit to the program is one of KVM's as well.
        #expect(try number(kernel[0], "exits") >= number(first[0], "pio-writes"))
        let output = program.output.utf8.count
        try until("the guest goes on") { program.output.utf8.count > output }
        #expect(try number(try statistics(client, "stratovirt", "vcpu")[0], "pio-writes") > number(first[0], "pio-writes"))
        let vm = try statistics(client, "kvm", "vm")
        #expect(vm.count == 1 && vm[0]["remote_tlb_flush"] != nil)
        let schemas = try #require(try client.must("query-stats-schemas") as? [QMPClient.Message])
        #expect(
            schemas.map { "\($0["provider"] ?? "") \($0["target"] ?? "")" } == ["kvm vm", "stratovirt vm", "kvm vcpu", "stratovirt vcpu", "stratovirt device"])
        #expect(try statistics(client, "stratovirt", "device").count == 1)
        let paths = try client.must("query-stats", #"{"target":"vcpu","vcpus":["/machine/unattached/device[1]"]}"#) as? [QMPClient.Message]
        #expect(paths?.compactMap { $0["qom-path"] as? String } == ["/machine/unattached/device[1]", "/machine/unattached/device[1]"])
    }

    /// 254 vCPUs: the answer is made piece by piece.
    @Test func statisticsOfAsManyVCPUsAsThereCanBe_areNotHeldAllAtOnce() throws {
        let program = try start(Payload().print("up").spin(), cpus: 254)
        try program.waitForOutput("up")
        let client = try client()
        _ = try client.must("query-status")
        // Threads of their own have stacks of their own.
        let before = ProcessFacts(id: program.processID).residentKiB
        for _ in 0..<5 { #expect((try client.must("query-stats", #"{"target":"vcpu"}"#) as? [Any])?.count == 508) }
        let after = ProcessFacts(id: program.processID).residentKiB
        #expect(before > 1024 && after <= before + 1536, "\(before) KiB, then \(after) KiB")
    }

    @Test(arguments: [true, false]) func bootTimer_logsEachMarkOnce_andTheScratchRegisterWorks(serial: Bool) throws {
        let marks = Payload().out(0x3ff, 0xa5).out(0x3ff, 1).out(0x3ff, 2).out(0x3ff, 1).out(0x3ff, 2).out(0x3ff, 0x41)
        let program = try start(serial ? marks.echoPort(0x3ff).spin() : marks.spin(), ["-D", "log"], serial: serial)
        if serial { try program.waitForOutput("A") }
        let client = try client()
        try until("the guest has booted") { try log().contains { $0.contains("the guest has booted after") } }
        let lines = try log().filter { $0.contains("BootTimer.swift") }
        #expect(lines.count == 2, "\(lines)")
        let form = /.*:INFO: the guest(?:'s kernel has started| has booted) after (\d+)\.\d{3} ms/
        let times = try lines.map { try #require($0.wholeMatch(of: form)?.1) }.compactMap { Int($0) }
        #expect(times.count == 2 && times[0] <= times[1] && times[1] < 60_000)
        let vm = try statistics(client, "stratovirt", "vm")[0]
        #expect(try number(vm, "boot-kernel") <= number(vm, "boot-init") && number(vm, "boot-init") <= number(vm, "uptime"))
        #expect(try number(vm, "boot-init") / 1_000_000 == UInt64(times[1]))
    }

    @Test func traces_areWrittenFromTheStart_andSwitchedByQMP() throws {
        try folder.write("events", Array("vcpu_*\n-vcpu_stop\n".utf8))
        let program = try start(
            Payload().print("up").spin(), ["-D", "log", "-trace", "type=scopes", "-trace", "file=events", "-trace", "memory_add"],
            environment: "STRATOVIRT_LOG_LEVEL=error")
        try program.waitForOutput("up")
        let client = try client()
        func traced() throws -> [String] { try log().compactMap { $0.components(separatedBy: ":TRACE: ").dropFirst().first } }
        let first = try traced()
        for start in ["machine_realize: begins", "boot_load: payload.bin begins", "boot_load: payload.bin took ", "machine_realize: took ", "machine_start: took ",
                      "vcpu_start: vcpu=0", "vcpu_start: vcpu=1", "memory_add: memory ram-below-4g address=0x0 size=0x8000000", "memory_add: ports boot-timer address=0x3ff size=0x1"] {
            #expect(first.contains { $0.hasPrefix(start) }, "\(start) in \(first)")
        }
        _ = try client.must("stop")
        _ = try client.event("STOP")
        try until("the pause is told") { try traced().contains("vcpu_pause: vcpu=1") }
        try client.must("trace-set-state", #"{"name":"vcpu_*","enable":false}"#)
        try client.must("trace-set-state", #"{"name":"qmp_command","enable":true}"#)
        _ = try client.must("cont")
        _ = try client.event("RESUME")
        try client.must("trace-set-state", #"{"name":"*","enable":false}"#)
        _ = try client.must("query-status")
        let last = try traced()
        #expect(last.filter { $0.hasPrefix("qmp_command: ") } == ["qmp_command: cont", "qmp_command: trace-set-state"])
        #expect(!last.contains { $0.hasPrefix("vcpu_resume") || $0.hasPrefix("vcpu_stop") })
        // The level holds for everything else.
        #expect(try !log().contains { $0.contains(":INFO: ") })
    }

    /// Class: log flood. A guest that exits in a loop, and every event enabled.
    @Test func everyEventOfABusyGuest_leavesTheMachineWorking() throws {
        let program = try start(Payload().mapDevices().chatter("."), ["-D", "log", "-trace", "type=all"])
        try program.waitForOutput("...")
        let client = try client()
        for _ in 0..<20 { #expect((try client.must("query-status") as? QMPClient.Message)?["running"] as? Bool == true) }
        let resident = ProcessFacts(id: program.processID).residentKiB
        #expect(resident > 1024 && resident <= 4096, "\(resident) KiB")
        _ = try client.must("quit")
        #expect(try program.wait().code == 0)
    }

    @Test func wrongTraces_areNamed() throws {
        for (words, sentence) in [
            ("-trace nonsense", "-trace: there is no trace event 'nonsense'"), ("-trace file=/nonexistent/e", "-trace: cannot read '/nonexistent/e': No such file or directory"),
        ] {
            let result = try start(Payload().spin(), [words]).wait()
            #expect(result.error == "stratovirt: \(sentence)\n" && result.code == 1)
        }
    }
}
