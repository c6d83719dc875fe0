import Foundation
import LinuxSys
import Testing

@testable import AddressSpace

struct HostMemoryPlacementTests {
    private static let size: UInt64 = 5 << 20

    private func lines(_ path: String) -> [Substring] {
        String(decoding: FileHandle(forReadingAtPath: path)?.readDataToEndOfFile() ?? Data(), as: UTF8.self).split(separator: "\n")
    }

    /// KiB of the mapping that are resident.
    private func resident(_ memory: HostMemory) throws -> Int {
        let start = String(memory.address, radix: 16) + "-"
        let line = try #require(lines("/proc/self/smaps").drop { !$0.hasPrefix(start) }.first { $0.hasPrefix("Rss:") })
        return try #require(Int(line.split(separator: " ")[1]))
    }

    private func threadNames() -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []
        return names.compactMap { try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8) }
    }

    @Test(arguments: [1, 3, 16, 5000], [false, true])
    func populate_makesEveryPageResident_andKeepsWhatIsThere(_ threads: Int, _ byTouching: Bool) throws {
        for options: HostMemory.Options in [[], [.shared]] {
            let memory = try HostMemory.anonymous(size: Self.size, options: options)
            let space = AddressSpace(name: "space", size: Self.size)
            try space.root.add(.ram(name: "ram", size: Self.size, memory: memory), at: 0)
            for page in stride(from: 0, to: Self.size, by: 1 << 20) { try space.memory.store(page | 0xa5, at: page) }
            try memory.populate(threads: threads, byTouching: byTouching)
            #expect(try resident(memory) == Int(Self.size >> 10))
            for page in stride(from: 0, to: Self.size, by: 1 << 20) { #expect(try space.memory.load(UInt64.self, at: page) == page | 0xa5) }
            #expect(try space.memory.load(UInt64.self, at: 4096) == 0)
        }
    }

    @Test func populate_leavesNoThreadBehind() throws {
        let memory = try HostMemory.anonymous(size: Self.size)
        try memory.populate(threads: 16)
        #expect(try resident(memory) == Int(Self.size >> 10))
        // Other tests of this suite may be at it; theirs end too.
        let end = ContinuousClock.now + .seconds(20)
        while threadNames().contains("prealloc\n"), ContinuousClock.now < end { usleep(10_000) }
        #expect(!threadNames().contains("prealloc\n"))
    }

    /// What would be SIGBUS at an access: a page beyond the end of the file, as of a full file system.
    @Test func populate_withoutRoomInTheFile_isAnError() throws {
        let path = NSTemporaryDirectory() + "placement-\(UUID().uuidString)"
        try Data(count: 4096).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let memory = try HostMemory.mapping(SysFile.open(path, .readWrite), size: 2 << 20)
        #expect(throws: Errno.fault) { try memory.populate(threads: 2) }
        // By touching, room is made first: a file that may not grow tells.
        let sealed = try HostMemory.anonymous(size: 4096, options: [.shared])
        let beyond = try HostMemory.mapping(OwnedFD(adopting: dup(sealed.fileDescriptor)), size: 2 << 20)
        #expect(throws: Errno.notPermitted) { try beyond.populate(threads: 2, byTouching: true) }
    }

    /// How /proc/self/numa_maps names the policy of a mapping.
    private func policy(_ memory: HostMemory) throws -> Substring {
        let line = try #require(lines("/proc/self/numa_maps").first { $0.hasPrefix(String(memory.address, radix: 16) + " ") })
        return line.split(separator: " ")[1]
    }

    @Test(arguments: [(HostMemory.Policy.bind, "bind:0"), (.interleave, "interleave:0"), (.preferred, "prefer:0"), (.standard, "default")])
    func bind_isWhatTheKernelShows(_ mode: HostMemory.Policy, _ shown: String) throws {
        let memory = try HostMemory.anonymous(size: Self.size)
        try memory.bind(mode, nodes: mode == .standard ? [] : [0])
        #expect(try policy(memory) == shown)
        try memory.populate(threads: 2)
        #expect(try resident(memory) == Int(Self.size >> 10))
    }

    @Test func bind_toNodesThatAreNotThere_isRefused() throws {
        let memory = try HostMemory.anonymous(size: Self.size)
        for nodes in [[], [127], [64], [128], [-1]] { #expect(throws: Errno.invalid) { try memory.bind(.bind, nodes: nodes) } }
        #expect(try policy(memory) == "default")
    }

    @Test func pageSize_ofAnOrdinaryFile_isTheHosts() throws {
        let memory = try HostMemory.anonymous(size: 5000, options: [.shared])
        #expect(memory.pageSize == 4096 && memory.length == 8192)
        #expect(HostMemory.pageSize(of: OwnedFD(adopting: dup(memory.fileDescriptor))) == 4096)
    }

    /// The size of a huge page is the host's; a size that no processor has is refused whatever the host is.
    @Test func hugePages_ofNoSize_areRefused() {
        #expect(throws: AddressSpaceError.zeroSize("guest memory")) { try HostMemory.hugePages(.standard, size: 0) }
        #expect(throws: AddressSpaceError.system("create shared guest memory", .noDevice)) { try HostMemory.hugePages(.size(1 << 16), size: 1 << 20) }
        #expect(throws: AddressSpaceError.overflow("guest memory")) { try HostMemory.hugePages(.standard, size: .max) }
    }
}
