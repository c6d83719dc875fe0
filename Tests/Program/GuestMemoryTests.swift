import Foundation
import Testing

/// Where the guest's memory comes from: files, threads that take it at the start, nodes.
@Suite struct GuestMemoryTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    /// A guest that writes a word to its memory, says so and waits.
    private func arguments(at address: UInt32 = 0x60_0000, memory: Int = 128, _ more: [String] = []) throws -> [String] {
        let kernel = try folder.write("payload.bin", Payload().storing(0x600d_cafe, at: address).print("up").spin().bytes)
        return ["-kernel", kernel, "-initrd", kernel, "-m", "\(memory)", "-qmp", "unix:q.sock,server,nowait", "-serial", "stdio"] + more
    }

    private func word(_ file: String, at offset: UInt64) throws -> [UInt8] {
        let handle = try FileHandle(forReadingFrom: folder.file(file))
        try handle.seek(toOffset: offset)
        return Array(try handle.read(upToCount: 4) ?? Data())
    }

    private func refuses(_ arguments: [String], _ sentence: String) throws {
        let result = try Program.run(arguments, in: folder)
        #expect(result.code == 1 && result.error == "stratovirt: \(sentence)\n", "\(result)")
        #expect(!folder.names.contains("q.sock"))
    }

    private static let cafe: [UInt8] = [0xfe, 0xca, 0x0d, 0x60]

    @Test(arguments: [true, false])
    func sharedFile_holdsWhatTheGuestWrites_andStays(_ shared: Bool) throws {
        let program = try Program(try arguments(["-mem-path", "ram", "-machine", "microvm,mem-share=\(shared ? "on" : "off")"]), in: folder)
        try program.waitForOutput("up")
        #expect(try word("ram", at: 0x60_0000) == (shared ? Self.cafe : [0, 0, 0, 0]))
        program.signal(SIGTERM)
        #expect(try program.wait().code == 0)
        #expect(try word("ram", at: 0x60_0000) == (shared ? Self.cafe : [0, 0, 0, 0]))
        #expect(try FileManager.default.attributesOfItem(atPath: folder.path("ram"))[.size] as? Int == 128 << 20)
    }

    @Test func folder_showsNoFile() throws {
        let program = try Program(try arguments(["-mem-path", folder.path(""), "-machine", "microvm,mem-share=on"]), in: folder)
        try program.waitForOutput("up")
        #expect(folder.names == ["payload.bin", "q.sock"])
        #expect(ProcessFacts(id: program.processID).text("maps").contains("/stratovirt-"))
    }

    /// Nothing is left of a start that fails after the memory was made, neither of the file nor of its content.
    @Test func failedStart_leavesNoNewFile() throws {
        try refuses(try arguments(["-mem-path", "ram", "-pidfile", "/nonexistent/p", "-daemonize"]).map { $0 == "stdio" ? "pty" : $0 },
                    "-pidfile: cannot create '/nonexistent/p': No such file or directory")
        try refuses(try arguments(["-mem-path", "ram"]).map { $0.hasPrefix("unix:") ? "unix:/nonexistent/q,server,nowait" : $0 },
                    "QMP cannot listen on 'unix:/nonexistent/q': No such file or directory")
        #expect(folder.names == ["payload.bin"])
        _ = try folder.image("short", size: 1 << 20)
        try refuses(try arguments(["-mem-path", "short"]), "-mem-path: 'short' has 1048576 bytes, fewer than the memory's 134217728")
        #expect(folder.names == ["payload.bin", "short"])
    }

    @Test func preallocatedMemory_isThereFromTheStart_andItsThreadsAreGone() throws {
        let program = try Program(try arguments(["-mem-prealloc", "-smp", "4"]), in: folder)
        try program.waitForOutput("up")
        let facts = ProcessFacts(id: program.processID)
        let line = try #require(facts.text("status").split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
        #expect(try #require(Int(line.split(separator: " ")[1])) >= 128 << 10)
        let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(program.processID)/task").map {
            try String(contentsOfFile: "/proc/\(program.processID)/task/\($0)/comm", encoding: .utf8)
        }
        #expect(!threads.contains("prealloc\n") && threads.count >= 5, "\(threads)")
        // What only the start needed goes some milliseconds after it.
        try until("\(facts.residentKiB) KiB") { facts.residentKiB <= 4096 }
    }

    private func nodes(_ first: String, _ second: String) -> [String] {
        ["-smp", "2", "-object", "memory-backend-\(first),id=m0,size=128M", "memory-backend-\(second),id=m1,size=128M",
         "-numa", "node,nodeid=0,cpus=0,memdev=m0", "node,nodeid=1,cpus=1,memdev=m1"]
    }

    @Test func nodes_areBehindEachOther() throws {
        let program = try Program(try arguments(at: 0x0960_0000, memory: 256, nodes("file,mem-path=a", "file,mem-path=b")), in: folder)
        try program.waitForOutput("up")
        #expect(try word("b", at: 0x0160_0000) == Self.cafe && word("a", at: 0x0160_0000) == [0, 0, 0, 0])
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        let backends = try #require(client.execute("query-memdev")["return"] as? [QMPClient.Message])
        #expect(backends.map { $0["id"] as? String } == ["m0", "m1"] && backends.allSatisfy { $0["share"] as? Bool == true })
        let size = try #require(client.execute("query-memory-size-summary")["return"] as? QMPClient.Message)
        #expect(size["base-memory"] as? Int == 256 << 20)
        let cpus = try #require(client.execute("query-cpus")["return"] as? [QMPClient.Message])
        #expect(cpus.map { ($0["props"] as? QMPClient.Message)?["node-id"] as? Int } == [0, 1])
    }

    @Test func memoryThatTheHostLacks_isNamed() throws {
        try refuses(try arguments(memory: 256, nodes("ram", "ram,policy=bind,host-nodes=127")),
                    "-object memory-backend-ram,id=m1: host-nodes=: the host has no node 127")
        try refuses(try arguments(memory: 256, nodes("ram", "file,mem-path=/dev/null")),
                    "-object memory-backend-file,id=m1: '/dev/null' is neither a regular file nor a folder")
        let huge = ["-object", "memory-backend-memfd,id=m,size=512G,hugetlb=on", "-numa", "node,nodeid=0,memdev=m"]
        try refuses(try arguments(memory: 512 << 10, huge), "-object memory-backend-memfd,id=m: there are too few free huge pages")
        try refuses(try arguments(memory: 256, nodes("ram", "ram").map { $0.replacingOccurrences(of: "memdev=m1", with: "memdev=m0") }),
                    "-numa node: memory backend 'm0' is used twice")
    }

    /// The last page of a bound node is taken where the policy says, and the kernel knows it.
    @Test func policy_isWhatTheKernelShows() throws {
        let program = try Program(try arguments(memory: 256, nodes("ram,policy=bind,host-nodes=0", "ram,policy=interleave,host-nodes=0,prealloc=on")), in: folder)
        try program.waitForOutput("up")
        let lines = ProcessFacts(id: program.processID).text("numa_maps").split(separator: "\n")
        #expect(lines.contains { $0.contains(" bind:0 ") } && lines.contains { $0.contains(" interleave:0 ") && $0.contains("N0=32768") }, "\(lines)")
    }
}
