import Foundation
import Testing

/// The monitor protocol against a running machine.
@Suite struct QMPTests {
    private let folder: TemporaryFolder
    private let program: Program
    private let socket: String

    init() throws {
        folder = try TemporaryFolder()
        socket = folder.path("q.sock")
        let kernel = try folder.write("payload.bin", Payload().chatter(".").bytes)
        let disk = try folder.image("disk.img", size: 1 << 20)
        program = try Program(["-machine", "microvm", "-kernel", kernel, "-m", "128", "-smp", "2", "-drive", "file=\(disk),id=d,direct=off",
                               "-device", "virtio-blk-device,drive=d", "-qmp", "unix:\(socket),server,nowait", "-serial", "stdio"], in: folder)
    }

    private func status(_ client: QMPClient) throws -> String? {
        (try client.execute("query-status")["return"] as? QMPClient.Message)?["status"] as? String
    }

    @Test func stop_freezesTheGuest_andContResumesIt() throws {
        let client = try QMPClient.greeted(path: socket)
        #expect(try client.execute("qmp_capabilities")["return"] != nil)
        try program.waitForOutput("...")
        #expect(try status(client) == "running")
        #expect(try client.execute("stop")["return"] != nil)
        _ = try client.event("STOP")
        #expect(try status(client) == "paused")
        let frozen = program.output.count
        usleep(200_000)
        #expect(program.output.count == frozen)
        #expect(try client.execute("cont")["return"] != nil)
        _ = try client.event("RESUME")
        try until("the guest goes on") { program.output.count > frozen }
        #expect(try status(client) == "running")
    }

    @Test func quit_answersThenTellsTheReason_andEndsWithCode0() throws {
        let client = try QMPClient.greeted(path: socket)
        #expect(try client.execute("quit")["return"] != nil)
        let data = try client.event("SHUTDOWN")
        #expect(data["guest"] as? Bool == false)
        #expect(data["reason"] as? String == "host-qmp-quit")
        let result = try program.wait()
        #expect(result.code == 0)
        #expect(result.error == "")
        #expect(!folder.names.contains("q.sock"))
    }

    @Test func commandsBehindQuit_findTheMachineShutDown() throws {
        let client = try QMPClient.greeted(path: socket)
        try client.send("{\"execute\":\"quit\"}{\"execute\":\"stop\"}")
        #expect(try client.receive()["return"] != nil)
        var message = try client.receive()
        while message["event"] != nil { message = try client.receive() }
        #expect((message["error"] as? QMPClient.Message)?["desc"] as? String == "the virtual machine is shut down")
        #expect(try program.wait().code == 0)
    }

    @Test func systemReset_tellsResetThenShutdown() throws {
        let client = try QMPClient.greeted(path: socket)
        #expect(try client.execute("system_reset")["return"] != nil)
        #expect(try client.event("RESET")["guest"] as? Bool == false)
        #expect(try client.event("SHUTDOWN")["guest"] as? Bool == false)
        #expect(try program.wait().code == 0)
    }

    @Test func systemPowerdown_pressesTheButton_andTheGuestDecides() throws {
        let client = try QMPClient.greeted(path: socket)
        #expect(try client.execute("system_powerdown")["return"] != nil)
        _ = try client.event("POWERDOWN")
        #expect(try status(client) == "running")
    }

    @Test func queryCPUs_namesRunningThreads() throws {
        let client = try QMPClient.greeted(path: socket)
        let cpus = try #require(try client.execute("query-cpus")["return"] as? [QMPClient.Message])
        #expect(cpus.count == 2)
        for (index, cpu) in cpus.enumerated() {
            let thread = try #require(cpu["thread_id"] as? Int)
            let name = try String(contentsOfFile: "/proc/\(program.processID)/task/\(thread)/comm", encoding: .utf8)
            #expect(name == "CPU \(index)/KVM\n")
        }
    }

    @Test func garbage_isAnsweredWithAnError_andTheConnectionSurvives() throws {
        let client = try QMPClient.greeted(path: socket)
        try client.send("}{ nonsense \u{1}\n{\"execute\":\"query-status\"}\n")
        var message = try client.receive()
        #expect((message["error"] as? QMPClient.Message)?["class"] as? String == "GenericError")
        while message["return"] == nil { message = try client.receive() }
        #expect((message["return"] as? QMPClient.Message)?["running"] as? Bool == true)
    }

    @Test func aHundredReconnections_work() throws {
        for _ in 0..<100 { #expect(try status(try QMPClient.greeted(path: socket)) == "running") }
    }

    @Test func everyCommand_againAndAgain_staysBelow4096KiB() throws {
        let client = try QMPClient.greeted(path: socket)
        let commands = try #require(try client.execute("query-commands")["return"] as? [QMPClient.Message]).compactMap { $0["name"] as? String }
        #expect(commands.contains("query-qmp-schema") && commands.contains("device_add"))
        for round in 0..<5 {
            for command in commands where !["quit", "system_reset", "system_powerdown"].contains(command) {
                try client.send("{\"execute\":\"\(command)\"}")
                while try client.receive()["event"] != nil {}
                usleep(10_200)
            }
            let resident = ProcessFacts(id: program.processID).residentKiB
            #expect(resident > 1024 && resident <= 4096, "round \(round): \(resident) KiB")
        }
    }
}
