import Foundation
import LinuxSys
import Testing

/// Odd surroundings: no /proc, few descriptors, closed standard streams, limits, other people's files, signals.
@Suite struct SurroundingsTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("ran.bin", Payload().print("ran").reset().bytes)
        try folder.write("spin.bin", Payload().print("up").spin().bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
    }

    private static let options = "-m 128 -drive file=disk.img,id=d,direct=off -device virtio-blk-device,drive=d -qmp unix:q.sock,server,nowait"

    /// Runs a line of sh in which $B is the program and $A are options for a machine with a disk and QMP.
    private func shell(_ line: String) throws -> Program.Result {
        try Program(["-c", "B='\(try Program.path)'; A='\(Self.options)'; \(line)"], executable: "/bin/sh", in: folder).wait()
    }

    @Test func jailWithoutProc_startsTheProgram() throws {
        let jail = folder.path("jail")
        let result = try shell("mkdir \(jail) && cp $B \(jail)/stratovirt && exec chroot \(jail) /stratovirt -version")
        #expect(result.output.hasPrefix("StratoVirt "), "\(result.error)")
        #expect(result.code == 0)
    }

    @Test func fewDescriptors_giveAnErrorOrAMachine_neverAMuteOne() throws {
        #expect(try shell("ulimit -n 3; exec $B -version").output.hasPrefix("StratoVirt "))
        for limit in 8...40 {
            let result = try shell("ulimit -n \(limit); exec $B $A -kernel ran.bin -serial stdio")
            if result.code == 0 {
                #expect(result.output == "ran", "with \(limit) descriptors")
            } else {
                #expect(result.code == 1 && result.error.hasPrefix("stratovirt: ") && result.output == "", "with \(limit) descriptors: \(result)")
            }
            #expect(!folder.names.contains("q.sock"))
        }
    }

    @Test func closedStandardStreams_areNotGivenToOtherFiles() throws {
        let program = try Program(["-c", "exec '\(try Program.path)' \(Self.options) -kernel spin.bin -serial stdio 0<&- 1>&- 2>&-"], executable: "/bin/sh", in: folder)
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        for descriptor in 0...2 {
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(program.processID)/fd/\(descriptor)") == "/dev/null")
        }
        #expect(try client.execute("quit")["return"] != nil)
        #expect(try program.wait().code == 0)
    }

    @Test func fileSizeLimit_losesOutputButNotTheMachine() throws {
        let chatter = try folder.write("chatter.bin", Payload().chatter(".").bytes)
        let program = try Program(["-c", "ulimit -f 1; exec '\(try Program.path)' \(Self.options) -kernel \(chatter) -serial file,path=serial.log"],
                                  executable: "/bin/sh", in: folder)
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        try until("the log is full") { (try? Data(contentsOf: folder.file("serial.log")).count) ?? 0 >= 512 }
        usleep(100_000)
        #expect((try client.execute("query-status")["return"] as? QMPClient.Message)?["status"] as? String == "running")
        #expect(try client.execute("quit")["return"] != nil)
        #expect(try program.wait().code == 0)
    }

    @Test(arguments: [SIGQUIT, SIGABRT, SIGSEGV, SIGUSR1, SIGUSR2, SIGALRM, SIGSYS, SIGXCPU])
    func signalThatKills_removesTheSocketFirst(_ signal: Int32) throws {
        let program = try Program(["-kernel", "spin.bin", "-serial", "stdio"] + Self.options.split(separator: " ").map(String.init), in: folder)
        try program.waitForOutput("up")
        #expect(folder.names.contains("q.sock"))
        program.signal(signal)
        #expect(try program.wait().code == -signal)
        #expect(!folder.names.contains("q.sock"))
    }

    @Test func fileInPlaceOfOurSocket_isLeftAlone() throws {
        let program = try Program(["-kernel", "spin.bin", "-serial", "stdio"] + Self.options.split(separator: " ").map(String.init), in: folder)
        try program.waitForOutput("up")
        try FileManager.default.removeItem(at: folder.file("q.sock"))
        try folder.write("q.sock", Array("mine".utf8))
        program.signal(SIGTERM)
        #expect(try program.wait().code == 0)
        #expect(try String(contentsOf: folder.file("q.sock"), encoding: .utf8) == "mine")
    }

    @Test func failedStart_leavesNoConsoleBehind() throws {
        for console in ["file,path=serial.new", "socket,path=serial.new,server,nowait"] {
            let result = try shell("exec $B -m 128 -kernel ran.bin -drive file=none.img,id=n -device virtio-blk-device,drive=n -serial \(console)")
            #expect(result.code == 1)
            #expect(!folder.names.contains("serial.new"))
        }
    }

    @Test func unusedDriveOrChardev_isNamed() throws {
        let result = try shell("exec $B $A -kernel ran.bin -serial stdio -drive file=other.img,id=spare -chardev pty,id=idle")
        #expect(result.code == 0 && result.output == "ran")
        #expect(result.error.contains("-drive: no -device uses 'spare'") && result.error.contains("-chardev: nothing uses 'idle'"))
    }

    @Test func wordThatIsNoText_isRefused() throws {
        let result = try shell("exec $B $A -kernel \"$(printf 'k\\377')\"")
        #expect(result.error == "stratovirt: the command line is not valid UTF-8\n")
        #expect(result.code == 1)
    }
}
