import Foundation
import LinuxSys
import Testing

/// -D and STRATOVIRT_LOG_LEVEL.
@Suite struct LogTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("ran.bin", Payload().print("ran").reset().bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
    }

    private static let options = "-m 128 -smp 2 -kernel ran.bin -drive file=disk.img,id=d,direct=off -device virtio-blk-device,drive=d "
        + "-qmp unix:q.sock,server,nowait -serial stdio -chardev pty,id=idle"

    /// Runs the machine to its end.
    private func run(_ more: String, environment: String = "", sourceLocation: SourceLocation = #_sourceLocation) throws -> Program.Result {
        let line = "\(environment) exec '\(try Program.path)' \(Self.options) \(more)"
        let result = try Program(["-c", line], executable: "/bin/sh", in: folder).wait()
        #expect(result.code == 0 && result.output == "ran", "\(result)", sourceLocation: sourceLocation)
        return result
    }

    private func lines(_ name: String) throws -> [String] {
        try String(contentsOf: folder.file(name), encoding: .utf8).split(separator: "\n").map(String.init)
    }

    @Test func everyLine_hasTheFormThatManagementLayersParse() throws {
        let result = try run("-D log")
        #expect(result.error == "")
        let form = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}: \[(\d+)\]\[(\d+)\]\[[A-Za-z]+\/[A-Za-z0-9+]+\.swift:\d+\]:(ERROR|WARN|INFO): .+/
        let lines = try lines("log")
        for line in lines { #expect(line.wholeMatch(of: form) != nil, "\(line)") }
        #expect(lines.first?.contains(":INFO: VmConfig is {machine: microvm, smp: 2/2, memory: 128 MiB, kernel: ran.bin") == true)
        for vcpu in 0...1 { #expect(lines.count { $0.contains(":INFO: vcpu\(vcpu) ") } == 1) }
        #expect(lines.contains { $0.contains(":WARN: -chardev: nothing uses 'idle'") })
    }

    @Test func withoutFile_theLogGoesToStandardError() throws {
        let asked = try run("-D")
        #expect(asked.error.contains(":INFO: VmConfig is ") && asked.error.contains(":WARN: "))
        let silent = try run("")
        #expect(!silent.error.contains(":INFO: ") && silent.error.contains(":WARN: "))
    }

    @Test(arguments: [("error", false, false), ("warn", true, false), ("info", true, true), ("DEBUG", true, true), ("trace", true, true), ("nonsense", true, true)])
    func level_isTakenFromTheEnvironment(_ level: String, _ warns: Bool, _ informs: Bool) throws {
        _ = try run("-D log", environment: "STRATOVIRT_LOG_LEVEL=\(level)")
        let text = try String(contentsOf: folder.file("log"), encoding: .utf8)
        #expect(text.contains(":WARN: ") == warns)
        #expect(text.contains(":INFO: ") == informs)
    }

    @Test func emptyEnvironment_exceptTheLevel_isEnough() throws {
        let line = "exec env -i STRATOVIRT_LOG_LEVEL=info '\(try Program.path)' \(Self.options)"
        let result = try Program(["-c", line], executable: "/bin/sh", in: folder).wait()
        #expect(result.code == 0 && result.error.contains(":INFO: VmConfig is "))
    }

    @Test func existingLog_isContinued() throws {
        try folder.write("log", Array("before\n".utf8))
        _ = try run("-D log")
        let lines = try lines("log")
        #expect(lines.first == "before" && lines.count > 2)
        #expect(!folder.names.contains("log1"))
    }

    @Test func logOf100MiB_isPutAside() throws {
        _ = try folder.image("log", size: 100 << 20)
        try folder.write("log1", Array("older\n".utf8))
        _ = try run("-D log")
        #expect(try FileManager.default.attributesOfItem(atPath: folder.path("log1"))[.size] as? Int == 100 << 20)
        #expect(try lines("log2") == ["older"])
        #expect(try lines("log").first?.contains("VmConfig is ") == true)
    }

    @Test func logOfYesterday_isPutAside() throws {
        try folder.write("log", Array("yesterday\n".utf8))
        try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSinceNow: -86_400)], ofItemAtPath: folder.path("log"))
        _ = try run("-D log")
        #expect(try lines("log1") == ["yesterday"])
        #expect(try lines("log").first?.contains("VmConfig is ") == true)
    }

    @Test func logThatTakesNothing_costsOnlyTheLog() throws {
        _ = try run("-D /dev/full")
        _ = try run("-D /dev/null")
        #expect(try SysFile.linkStatus("/dev/null").kind == .characterDevice)
    }

    @Test func logThatCannotBeOpened_isNamed() throws {
        let options = Self.options.split(separator: " ").map(String.init)
        #expect(mkfifo(folder.path("fifo"), 0o600) == 0)
        for (path, reason) in [("/tmp", "Is a directory"), ("/nonexistent/log", "No such file or directory"), ("fifo", "No such device or address")] {
            let result = try Program.run(options + ["-D", path], in: folder)
            #expect(result.error == "stratovirt: -D: cannot open '\(path)': \(reason)\n" && result.code == 1)
        }
    }

    @Test func failedStart_isToldByTheLogToo() throws {
        let result = try Program.run(["-m", "128", "-kernel", "none.bin", "-initrd", "ran.bin", "-D", "log", "-qmp", "unix:q.sock,server,nowait"], in: folder)
        #expect(result.error == "stratovirt: kernel 'none.bin': No such file or directory\n" && result.code == 1)
        #expect(try lines("log").last?.hasSuffix(":ERROR: kernel 'none.bin': No such file or directory") == true)
    }

    @Test func standardErrorThatNobodyReads_holdsNobodyUp() throws {
        // 200 lines of about 100 bytes do not fit into a pipe of one page.
        let line = "exec '\(try Program.path)' -D \(Self.options.replacingOccurrences(of: "-smp 2", with: "-smp 200"))"
        let wrapper = "import os,sys,fcntl\nr,w=os.pipe()\nfcntl.fcntl(w,1031,4096)\nos.dup2(w,2)\nos.execv('/bin/sh',['sh','-c',sys.argv[1]])"
        let program = try Program(["-c", wrapper, line], executable: "/usr/bin/python3", in: folder)
        let result = try program.wait()
        #expect(result.code == 0 && result.output == "ran")
    }

    @Test func daemonsLog_goesOnInTheFile() throws {
        try folder.write("spin.bin", Payload().print("up").spin().bytes)
        let options = Self.options.split(separator: " ").map { $0 == "ran.bin" ? "spin.bin" : $0 == "stdio" ? "file,path=s.log" : String($0) }
        let daemon = try BackgroundProgram(options + ["-D", "log"], in: folder)
        #expect(daemon.start.error == "")
        #expect(try lines("log").allSatisfy { $0.contains("[\(daemon.facts.id)]") })
    }
}
