import Foundation
import LinuxSys
import Testing

/// Descriptors from 3 on that the parent leaves open.
@Suite struct InheritedDescriptorTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("spin.bin", Payload().print("up").spin().bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
        try folder.write("secret", Array("secret".utf8))
    }

    private static let options = "-m 128 -kernel spin.bin -drive file=disk.img,id=d,direct=off -device virtio-blk-device,drive=d "
        + "-qmp unix:q.sock,server,nowait -serial stdio"

    private func running(_ redirections: String, _ more: String = "") throws -> Program {
        let program = try Program(["-c", "exec '\(try Program.path)' \(Self.options) \(more) \(redirections)"], executable: "/bin/sh", in: folder)
        try program.waitForOutput("up")
        return program
    }

    @Test func whatNobodyNames_isClosed() throws {
        let plain = try running("")
        let baseline = ProcessFacts(id: plain.processID).descriptors.count
        plain.signal(SIGTERM)
        _ = try plain.wait()
        let redirections = (3...9).map { "\($0)<secret" }.joined(separator: " ")
        let program = try running(redirections)
        let descriptors = ProcessFacts(id: program.processID).descriptors
        #expect(!descriptors.values.contains { $0.hasSuffix("/secret") })
        #expect(descriptors.count == baseline, "\(descriptors)")
    }

    @Test func highNumbers_areClosedToo() throws {
        let wrapper = "import os,resource,sys\nresource.setrlimit(resource.RLIMIT_NOFILE,(8192,8192))\nf=os.open('secret',os.O_RDONLY)\n"
            + "for n in (700,4095,4096,8000): os.dup2(f,n)\nos.closerange(3,100)\nos.execv(sys.argv[1],sys.argv[1:])"
        let arguments = ["-c", wrapper, try Program.path] + Self.options.split(separator: " ").map(String.init)
        let program = try Program(arguments, executable: "/usr/bin/python3", in: folder)
        try program.waitForOutput("up")
        #expect(!ProcessFacts(id: program.processID).descriptors.values.contains { $0.hasSuffix("/secret") })
    }

    @Test func theyAreClosed_alsoWithoutProc() throws {
        let jail = folder.path("jail")
        let copy = "mkdir -p \(jail)/dev && cp '\(try Program.path)' \(jail)/stratovirt && cp spin.bin disk.img \(jail)/ && cp -a /dev/kvm /dev/null \(jail)/dev/"
        let program = try Program(["-c", "\(copy) && exec chroot \(jail) /stratovirt \(Self.options) 5<secret 6<secret"], executable: "/bin/sh", in: folder)
        try program.waitForOutput("up")
        #expect(!ProcessFacts(id: program.processID).descriptors.values.contains { $0.hasSuffix("/secret") })
    }

    @Test func daemon_closesThemToo() throws {
        let line = "exec '\(try Program.path)' \(Self.options.replacingOccurrences(of: "stdio", with: "file,path=s")) -daemonize -pidfile p 5<secret"
        #expect(try Program(["-c", line], executable: "/bin/sh", in: folder).wait().code == 0)
        let id = try #require(Int32(try String(contentsOf: folder.file("p"), encoding: .utf8)))
        defer { kill(id, SIGKILL) }
        #expect(!ProcessFacts(id: id).descriptors.values.contains { $0.hasSuffix("/secret") })
    }
}
