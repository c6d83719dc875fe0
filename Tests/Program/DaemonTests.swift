import Foundation
import LinuxSys
import Testing

/// -daemonize and -pidfile.
@Suite struct DaemonTests {
    private let folder: TemporaryFolder
    private let options: [String]

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("spin.bin", Payload().print("up").spin().bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
        options = ["-m", "128", "-kernel", "spin.bin", "-drive", "file=disk.img,id=d,direct=off", "-device", "virtio-blk-device,drive=d",
                   "-qmp", "unix:q.sock,server,nowait", "-serial", "file,path=serial.log"]
    }

    private func refuses(_ arguments: [String], _ message: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let before = folder.names
        let result = try Program.run(arguments, in: folder)
        #expect(result.error == "stratovirt: \(message)\n", sourceLocation: sourceLocation)
        #expect(result.code == 1 && result.output == "", sourceLocation: sourceLocation)
        #expect(folder.names == before, sourceLocation: sourceLocation)
    }

    @Test func daemon_runsOn_inASessionThatItDoesNotLead() throws {
        let daemon = try BackgroundProgram(options, in: folder)
        #expect(daemon.start.output == "" && daemon.start.error == "")
        #expect(daemon.facts.isAlive)
        let session = getsid(daemon.facts.id)
        #expect(session != getsid(0) && session != daemon.facts.id && session > 0)
        #expect(getpgid(daemon.facts.id) == session)
        // Relative paths keep their meaning.
        #expect(daemon.facts.workingDirectory == folder.url.resolvingSymlinksInPath().path(percentEncoded: false).trimmingSuffix("/"))
        for number in 0...2 { #expect(daemon.facts.descriptors[number] == "/dev/null") }
    }

    @Test func daemonIsReady_whenTheFirstProcessEnds() throws {
        let daemon = try BackgroundProgram(options, in: folder)
        // No waiting: QMP listens and the guest runs.
        _ = try StreamSocket.connect(path: folder.path("q.sock")).raw
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        #expect((try client.execute("query-status")["return"] as? QMPClient.Message)?["status"] as? String == "running")
        #expect(daemon.facts.isAlive)
    }

    @Test func pidFile_isPrivate_holdsTheDaemonsId_andGoesWithIt() throws {
        let daemon = try BackgroundProgram(options, in: folder)
        let mode = try #require(try FileManager.default.attributesOfItem(atPath: daemon.pidFile)[.posixPermissions] as? Int)
        #expect(mode == 0o600)
        #expect(try String(contentsOfFile: "/proc/\(daemon.facts.id)/comm", encoding: .utf8) == "stratovirt\n")
        #expect(try QMPClient.greeted(path: folder.path("q.sock")).execute("quit")["return"] != nil)
        try daemon.waitForEnd()
        #expect(folder.names == ["disk.img", "serial.log", "spin.bin"])
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGSEGV])
    func signal_endsTheDaemon_withoutRemains(_ signal: Int32) throws {
        let daemon = try BackgroundProgram(options, in: folder)
        kill(daemon.facts.id, signal)
        try daemon.waitForEnd()
        #expect(folder.names == ["disk.img", "serial.log", "spin.bin"])
    }

    @Test func secondDaemonWithTheSamePIDFile_isRefused() throws {
        let daemon = try BackgroundProgram(options, in: folder)
        let other = ["-m", "128", "-kernel", "spin.bin", "-initrd", "spin.bin", "-qmp", "unix:r.sock,server,nowait", "-daemonize", "-pidfile", daemon.pidFile]
        try refuses(other, "-pidfile: '\(daemon.pidFile)' exists already")
        #expect(try String(contentsOfFile: daemon.pidFile, encoding: .utf8) == String(daemon.facts.id))
        #expect(daemon.facts.isAlive)
    }

    @Test func errorOfTheDaemon_isToldByTheFirstProcess() throws {
        let daemonize = ["-daemonize", "-pidfile", folder.path("p")]
        func replacing(_ old: String, _ new: String) -> [String] { options.map { $0 == old ? new : $0 } + daemonize }
        try refuses(replacing("spin.bin", "none.bin"), "kernel 'none.bin': No such file or directory")
        try refuses(replacing("unix:q.sock,server,nowait", "unix:/nonexistent/q,server,nowait"), "QMP cannot listen on 'unix:/nonexistent/q': No such file or directory")
        try refuses(replacing("file,path=serial.log", "file,path=/nonexistent/x"), "-serial: cannot open '/nonexistent/x': No such file or directory")
        try refuses(options + ["-daemonize", "-pidfile", "/nonexistent/p"], "-pidfile: cannot create '/nonexistent/p': No such file or directory")
        try refuses(options + ["-daemonize", "-D", "/nonexistent/log"], "-D: cannot open '/nonexistent/log': No such file or directory")
    }

    @Test func daemonWithoutMemory_saysSo() throws {
        let line = "ulimit -v 200000; exec '\(try Program.path)' -m 1024 -kernel spin.bin -initrd spin.bin -qmp unix:q.sock,server,nowait -daemonize"
        let result = try Program(["-c", line], executable: "/bin/sh", in: folder).wait()
        #expect(result.code == 1 && result.error == "stratovirt: -m: cannot set up 1024 MiB of guest memory: cannot map guest memory: Cannot allocate memory\n", "\(result)")
        #expect(!folder.names.contains("q.sock"))
    }

    @Test func warningsOfTheStart_stillReachTheTerminal() throws {
        let daemon = try BackgroundProgram(options + ["-chardev", "pty,id=idle"], in: folder)
        #expect(daemon.start.error.contains(":WARN: -chardev: nothing uses 'idle'\n"))
    }

    @Test func daemonWhoseStandardStreamsAreClosed_runs() throws {
        let line = "exec '\(try Program.path)' \(options.joined(separator: " ")) -daemonize -pidfile p 0<&- 1>&- 2>&-"
        #expect(try Program(["-c", line], executable: "/bin/sh", in: folder).wait().code == 0)
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        let id = try #require(Int32(try String(contentsOf: folder.file("p"), encoding: .utf8)))
        for number in 0...2 { #expect(ProcessFacts(id: id).descriptors[number] == "/dev/null") }
        #expect(try client.execute("quit")["return"] != nil)
        try until("the daemon ends") { !ProcessFacts(id: id).isAlive }
    }

    @Test func parentThatIgnoresItsChildren_doesNotConfuseTheStart() throws {
        let line = "trap '' CHLD; exec '\(try Program.path)' \(options.joined(separator: " ")) -daemonize -pidfile p"
        #expect(try Program(["-c", line], executable: "/bin/sh", in: folder).wait().code == 0)
        #expect(try QMPClient.greeted(path: folder.path("q.sock")).execute("quit")["return"] != nil)
        try until("the pid file goes") { !folder.names.contains("p") }
    }
}

extension String {
    func trimmingSuffix(_ suffix: String) -> String { hasSuffix(suffix) ? String(dropLast(suffix.count)) : self }
}
