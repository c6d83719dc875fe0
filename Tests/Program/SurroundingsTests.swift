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

    private static let canUnshare = geteuid() == 0 && (try? Program(["-m", "true"], executable: "/usr/bin/unshare", in: TemporaryFolder()).wait().code) == 0

    @Test(.enabled(if: canUnshare)) func kvmDeviceThatIsNone_isNamed() throws {
        let result = try shell("exec unshare -m sh -c \"mount --bind /dev/null /dev/kvm && exec $B $A -kernel ran.bin\"")
        #expect(result.error == "stratovirt: /dev/kvm is not a KVM device\n" && result.code == 1)
        let absent = try shell("exec unshare -m sh -c \"mount -t tmpfs none /dev && exec $B $A -kernel ran.bin\"")
        #expect(absent.error == "stratovirt: cannot open /dev/kvm: no such device; is the kvm module loaded?\n" && absent.code == 1)
        #expect(!folder.names.contains("q.sock"))
    }

    @Test func jailWithoutAnything_andClosedStreams_stillAnswers() throws {
        let jail = folder.path("jail")
        let program = try Program(
            ["-c", "mkdir \(jail) && cp '\(try Program.path)' \(jail)/stratovirt && exec chroot \(jail) /stratovirt -machine none -qmp unix:q.sock,server,nowait 0<&- 1>&- 2>&-"],
            executable: "/bin/sh", in: folder)
        let client = try QMPClient.greeted(path: jail + "/q.sock")
        #expect(try client.execute("quit")["return"] != nil)
        #expect(try program.wait().code == 0)
    }

    @Test func jailWithoutNull_cannotHoldADaemon() throws {
        let jail = folder.path("jail")
        let result = try shell("mkdir \(jail) && cp $B \(jail)/stratovirt && exec chroot \(jail) /stratovirt -machine none -qmp unix:q.sock,server,nowait -daemonize -pidfile p")
        #expect(result.error == "stratovirt: -daemonize: there is no /dev/null\n" && result.code == 1)
        #expect(try FileManager.default.contentsOfDirectory(atPath: jail) == ["stratovirt"])
    }

    @Test func hugeEnvironment_isNoProblem() throws {
        let result = try shell("for i in $(seq 1 200); do export X$i=$(head -c 4000 /dev/zero | tr '\\0' x); done; exec $B $A -kernel ran.bin -serial stdio")
        #expect(result.code == 0 && result.output == "ran" && result.error == "")
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP]) func frozenMachine_endsWithASignal(_ signal: Int32) throws {
        let program = try Program(["-kernel", "spin.bin", "-serial", "stdio", "-freeze"] + Self.options.split(separator: " ").map(String.init), in: folder)
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        #expect((try client.execute("query-status")["return"] as? QMPClient.Message)?["status"] as? String == "paused")
        program.signal(signal)
        #expect(try client.event("SHUTDOWN")["guest"] as? Bool == false)
        let result = try program.wait()
        #expect(result.code == 0 && result.output == "" && !folder.names.contains("q.sock"))
    }

    /// As Kata Containers starts it, with a guest that ends by itself.
    @Test func kataCommandLine_runs() throws {
        let line = "exec env -i STRATOVIRT_LOG_LEVEL=info '\(try Program.path)' -name sandbox-1 -uuid 6e5c8b46-3a0f-4f0c-a7f9-6f2f8a3a3d11 -smp 1 -m 256 -kernel ran.bin "
            + "-append 'console=hvc0 root=/dev/vda pci=off reboot=k panic=1' -qmp unix:\(folder.path("qmp.socket")),server,nowait -D -disable-seccomp "
            + "-machine type=microvm,dump-guest-core=off,mem-share=on -object rng-random,id=objrng0,filename=/dev/urandom "
            + "-device virtio-rng-device,rng=objrng0,id=virtio-rng0 -device virtio-serial-device,id=virtio-serial0 "
            + "-chardev socket,id=charconsole0,path=\(folder.path("console.socket")),server,nowait -device virtconsole,chardev=charconsole0,id=virtio-console0,nr=0 "
            + "-device virtio-blk-device,drive=rootfs,id=virtio-blk0 -drive id=rootfs,file=disk.img,readonly=on,direct=off -serial stdio"
        let result = try Program(["-c", line], executable: "/bin/sh", in: folder).wait()
        #expect(result.code == 0 && result.output == "ran")
        #expect(result.error.split(separator: "\n").allSatisfy { $0.contains(":INFO: ") || $0.contains(":WARN: ") }, "\(result.error)")
        #expect(result.error.contains(":INFO: VmConfig is ") && result.error.contains(":INFO: vcpu0 "))
        #expect(!folder.names.contains("qmp.socket") && !folder.names.contains("console.socket"))
    }
}
