import Foundation
import LinuxSys
import Testing

/// -machine none: no guest, only QMP, as libvirt starts it to learn what the program can do.
@Suite struct NoMachineTests {
    private let folder: TemporaryFolder
    private let program: Program
    private let socket: String

    init() throws {
        folder = try TemporaryFolder()
        socket = folder.path("q.sock")
        program = try Program(["-machine", "none", "-nodefaults", "-nographic", "-no-user-config", "-qmp", "unix:q.sock,server,nowait"], in: folder)
    }

    @Test func queries_areAnswered() throws {
        let client = try QMPClient.greeted(path: socket)
        for command in ["qmp_capabilities", "query-version", "query-status", "query-commands", "query-cpus", "query-hotpluggable-cpus", "query-events", "query-kvm",
                        "query-machines", "query-target", "query-qmp-schema", "query-iothreads", "query-chardev", "query-block"] {
            #expect(try client.execute(command)["return"] != nil, "\(command)")
        }
        let status = try client.execute("query-status")["return"] as? QMPClient.Message
        #expect(status?["running"] as? Bool == false)
        #expect((try client.execute("query-cpus")["return"] as? [Any])?.isEmpty == true)
        #expect(ProcessFacts(id: program.processID).residentKiB <= 4096)
    }

    @Test func whatNeedsAGuest_isRefused_andNothingBreaks() throws {
        let client = try QMPClient.greeted(path: socket)
        for command in ["stop", "cont", "system_powerdown", "system_reset"] {
            let error = try client.execute(command)["error"] as? QMPClient.Message
            #expect(error?["desc"] as? String == "machine type none has no guest", "\(command)")
        }
        try client.send("{\"execute\":\"device_del\",\"arguments\":{\"id\":\"x\"}}")
        #expect((try client.receive()["error"] as? QMPClient.Message)?["class"] as? String == "DeviceNotFound")
        #expect(program.isRunning)
    }

    @Test func quit_endsIt() throws {
        let client = try QMPClient.greeted(path: socket)
        #expect(try client.execute("quit")["return"] != nil)
        #expect(try client.event("SHUTDOWN")["reason"] as? String == "host-qmp-quit")
        let result = try program.wait()
        #expect(result.code == 0 && result.output == "" && result.error == "")
        #expect(folder.names.isEmpty)
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP]) func signal_endsIt(_ signal: Int32) throws {
        _ = try QMPClient.greeted(path: socket)
        program.signal(signal)
        #expect(try program.wait().code == 0)
        #expect(folder.names.isEmpty)
    }

    @Test func itNeedsNoKVM() throws {
        let jail = folder.path("jail")
        let copy = "mkdir -p \(jail)/dev && cp '\(try Program.path)' \(jail)/stratovirt && cp -a /dev/null \(jail)/dev/"
        let jailed = try Program(["-c", "\(copy) && exec chroot \(jail) /stratovirt -machine none -qmp unix:r.sock,server,nowait"], executable: "/bin/sh", in: folder)
        let client = try QMPClient.greeted(path: jail + "/r.sock")
        #expect((try client.execute("query-kvm")["return"] as? QMPClient.Message)?["present"] as? Bool == false)
        #expect(try client.execute("quit")["return"] != nil)
        #expect(try jailed.wait().code == 0)
    }

    @Test func inTheBackground() throws {
        let daemon = try BackgroundProgram(["-machine", "none", "-qmp", "unix:r.sock,server,nowait"], in: folder)
        let client = try QMPClient.greeted(path: folder.path("r.sock"))
        #expect(try client.execute("quit")["return"] != nil)
        try daemon.waitForEnd()
        #expect(!folder.names.contains("p") && !folder.names.contains("r.sock"))
    }
}
