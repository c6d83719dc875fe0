import AddressSpace
import Foundation
import LinuxSys
import MachineManager
import Testing

@testable import Machine

@Suite struct MemoryBackendTests {
    private let fixture: Fixture
    private let machine: MicroVM
    private static let size: UInt64 = 4 << 20

    init() throws {
        fixture = try Fixture()
        fixture.config.processors.count = 4
        machine = try fixture.machine(realized: false)
    }

    private func path(_ name: String) -> String { fixture.folder.appending(path: name).path(percentEncoded: false) }

    private func backend(_ kind: VmConfig.MemoryBackend.Kind, shared: Bool = true) -> VmConfig.MemoryBackend {
        VmConfig.MemoryBackend(id: "m", kind: kind, size: Self.size, isShared: shared)
    }

    private func sentence(_ backend: VmConfig.MemoryBackend) -> String {
        do throws(MachineError) {
            _ = try machine.makeMemory(backend)
            return "made"
        } catch { return error.description }
    }

    private func bytes(_ path: String) throws -> Int { try Data(contentsOf: URL(filePath: path)).count }

    /// What /proc/self/smaps says of the mapping under this name.
    private func fact(_ name: String, _ memory: HostMemory) throws -> String {
        let text = String(decoding: FileHandle(forReadingAtPath: "/proc/self/smaps")?.readDataToEndOfFile() ?? Data(), as: UTF8.self)
        let lines = text.split(separator: "\n").drop { !$0.hasPrefix(String(memory.address, radix: 16) + "-") }
        let line = try #require(lines.first { $0.hasPrefix(name + ":") })
        return line.dropFirst(name.utf8.count + 1).trimmingCharacters(in: .whitespaces)
    }

    @Test func ramAndMemfd_areLazy_andSharedAsTheySay() throws {
        let ram = try machine.makeMemory(backend(.ram, shared: false))
        #expect(ram.size == Self.size && !ram.isShared && ram.fileDescriptor == -1)
        let memfd = try machine.makeMemory(backend(.memfd))
        #expect(memfd.isShared && memfd.fileDescriptor >= 0)
        #expect(try machine.makeMemory(backend(.ram)).isShared)
        for memory in [ram, memfd] { #expect(try fact("Rss", memory) == "0 kB") }
    }

    @Test func newFile_isMadeAsLongAsTheMemory() throws {
        let memory = try machine.makeMemory(backend(.file(path: path("new"))))
        #expect(memory.isShared && memory.fileDescriptor >= 0)
        #expect(try bytes(path("new")) == Int(Self.size))
    }

    @Test func newFile_goesWithAMachineThatNeverRan_andStaysWithOneThatDid() throws {
        for starts in [false, true] {
            do {
                let fixture = try Fixture()
                fixture.config.memory.path = path("ran\(starts)")
                let machine = try fixture.machine()
                #expect(try bytes(path("ran\(starts)")) == 128 << 20)
                if starts { try machine.start() }
                machine.shutDown()
            }
            #expect(FileManager.default.fileExists(atPath: path("ran\(starts)")) == starts)
        }
    }

    @Test func emptyFile_isGrown_longerFile_isKept() throws {
        try Data().write(to: URL(filePath: path("empty")))
        _ = try machine.makeMemory(backend(.file(path: path("empty"))))
        #expect(try bytes(path("empty")) == Int(Self.size))
        try Data(repeating: 7, count: Int(Self.size) + 5).write(to: URL(filePath: path("long")))
        _ = try machine.makeMemory(backend(.file(path: path("long")), shared: false))
        #expect(try bytes(path("long")) == Int(Self.size) + 5)
    }

    @Test func shortFile_isRefused_andKept() throws {
        try Data(repeating: 7, count: 4096).write(to: URL(filePath: path("short")))
        #expect(sentence(backend(.file(path: path("short")))) == "-object memory-backend-file,id=m: '\(path("short"))' has 4096 bytes, fewer than the memory's 4194304")
        #expect(try bytes(path("short")) == 4096)
    }

    @Test func folder_getsAFileWithoutAName() throws {
        let before = try FileManager.default.contentsOfDirectory(atPath: path("")).sorted()
        let memory = try machine.makeMemory(backend(.file(path: path(""))))
        #expect(memory.isShared && memory.fileDescriptor >= 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: path("")).sorted() == before)
    }

    @Test func whatIsNoFile_isRefused() {
        #expect(sentence(backend(.file(path: "/dev/null"))) == "-object memory-backend-file,id=m: '/dev/null' is neither a regular file nor a folder")
        #expect(sentence(backend(.file(path: "/none/x"))) == "-object memory-backend-file,id=m: cannot open '/none/x': No such file or directory")
        #expect(sentence(backend(.file(path: path("kernel") + "/x"))) == "-object memory-backend-file,id=m: cannot open '\(path("kernel"))/x': Not a directory")
    }

    @Test func preallocatedBackend_isResident() throws {
        for kind in [VmConfig.MemoryBackend.Kind.ram, .memfd, .file(path: path("p"))] {
            var backend = backend(kind)
            backend.isPreallocated = true
            #expect(try fact("Rss", machine.makeMemory(backend)) == "4096 kB")
        }
    }

    @Test func backendOutsideOfDumps_isMarked() throws {
        var backend = backend(.ram)
        backend.isDumped = false
        #expect(try fact("VmFlags", machine.makeMemory(backend)).contains("dd"))
        #expect(try !fact("VmFlags", machine.makeMemory(self.backend(.ram))).contains("dd"))
        fixture.config.machine.dumpGuestCore = false
        #expect(try fact("VmFlags", fixture.machine(realized: false).makeMemory(self.backend(.ram))).contains("dd"))
    }

    /// A new file is not left behind by a machine that cannot be.
    @Test func hostNodeThatIsNotThere_isNamed_andNothingStays() throws {
        var backend = backend(.file(path: path("gone")))
        backend.policy = .bind
        backend.hostNodes = [0, 127]
        #expect(sentence(backend) == "-object memory-backend-file,id=m: host-nodes=: the host has no node 127")
        #expect(!FileManager.default.fileExists(atPath: path("gone")))
        backend.hostNodes = [0]
        #expect(sentence(backend) == "made")
    }

    @Test func hugePagesThatAreNotThere_areRefused() {
        #expect(sentence(backend(.hugePages(size: 1 << 16))) == "-object memory-backend-memfd,id=m: the host has no huge pages of this size")
        var odd = backend(.hugePages(size: 2 << 20))
        odd.size = 3 << 20
        #expect(sentence(odd) == "-object memory-backend-memfd,id=m: the size must be a multiple of the huge pages'")
        var large = backend(.hugePages(size: 2 << 20))
        large.size = 512 << 30
        #expect(sentence(large) == "-object memory-backend-memfd,id=m: there are too few free huge pages")
    }

    // MARK: The machine's own memory

    @Test func mainMemory_inAFile_isSharedByMemShare() throws {
        for shared in [true, false] {
            let fixture = try Fixture()
            fixture.config.memory.path = path("main\(shared)")
            fixture.config.machine.memShare = shared
            let machine = try fixture.machine()
            try machine.guestMemory.store(0x1234_5678 as UInt32, at: 0x50_0000)
            let data = try Data(contentsOf: URL(filePath: path("main\(shared)")))
            #expect(data.count == 128 << 20)
            #expect(Array(data[0x50_0000..<0x50_0004]) == (shared ? [0x78, 0x56, 0x34, 0x12] : [0, 0, 0, 0]))
            #expect(machine.guestMemory.writableMappings().allSatisfy { ($0.file != nil) == shared })
        }
    }

    @Test func mainMemoryThatCannotBe_namesItsOption() throws {
        func sentence(_ change: (Fixture) -> Void) throws -> String {
            let fixture = try Fixture()
            change(fixture)
            let machine = try fixture.machine(realized: false)
            do throws(MachineError) { _ = try machine.makeMainMemory() } catch { return error.description }
            return "made"
        }
        #expect(try sentence { $0.config.memory.path = "/none/x" } == "-mem-path: cannot open '/none/x': No such file or directory")
        #expect(try sentence { $0.config.memory.path = "/dev/null" } == "-mem-path: '/dev/null' is neither a regular file nor a folder")
        #expect(try sentence { $0.config.memory.size = 1 << 60 } == "-m: cannot set up 1099511627776 MiB of guest memory: cannot map guest memory: Cannot allocate memory")
    }
}
