import Testing

@testable import MachineManager

@Suite struct CommandLineMemoryTests {
    private static let initrd = ["-initrd", "i"]

    private func backend(_ value: String) throws -> VmConfig.MemoryBackend {
        try #require(try parse(Self.initrd + ["-object", value]).memoryBackends.first)
    }

    private func refusal(_ values: String...) -> String { message(Self.initrd + values.flatMap { ["-object", $0] }) }

    @Test func memoryPathAndPreallocation_goWithTheSize_inAnyOrder() throws {
        for words in [["-mem-path", "/mnt/m", "-mem-prealloc", "-m", "1G"], ["-m", "1G", "-mem-prealloc", "-mem-path", "\"/mnt/m\""]] {
            let memory = try parse(Self.initrd + words).memory
            #expect(memory.size == 1 << 30 && memory.path == "/mnt/m" && memory.isPreallocated)
        }
        let memory = try parse(Self.initrd).memory
        #expect(memory.path == nil && !memory.isPreallocated)
        #expect(message(Self.initrd + ["-mem-path", ""]) == "-mem-path: needs a value")
        #expect(message(Self.initrd + ["-mem-path", "a", "-mem-path", "b"]) == "-mem-path: given more than once")
        #expect(message(Self.initrd + ["-mem-path", String(repeating: "p", count: 4096)]) == "-mem-path: longer than 4095 bytes")
        #expect(message(Self.initrd + ["-mem-prealloc", "on"]) == "-mem-prealloc: unexpected value 'on'")
    }

    @Test func backends_haveTheirDefaults() throws {
        let ram = try backend("memory-backend-ram,id=a,size=512")
        #expect(ram == VmConfig.MemoryBackend(id: "a", kind: .ram, size: 512 << 20, isShared: false))
        #expect(ram.isDumped && !ram.isPreallocated && ram.policy == .standard && ram.hostNodes.isEmpty)
        #expect(try backend("memory-backend-memfd,id=a,size=1G") == VmConfig.MemoryBackend(id: "a", kind: .memfd, size: 1 << 30, isShared: true))
        let file = try backend("memory-backend-file,id=a,size=4K,mem-path=/f")
        #expect(file == VmConfig.MemoryBackend(id: "a", kind: .file(path: "/f"), size: 4096, isShared: true))
    }

    @Test func backends_takeAllParameters() throws {
        let file = try backend("memory-backend-file,size=2G,id=m,mem-path=/f,share=off,host-nodes=0-1:4,policy=bind,mem-prealloc=on,dump-guest-core=off")
        #expect(file.kind == .file(path: "/f") && !file.isShared && file.hostNodes == [0, 1, 4] && file.policy == .bind)
        #expect(file.isPreallocated && !file.isDumped)
        #expect(try backend("memory-backend-ram,size=2G,id=m,share=on,prealloc=on").isShared)
        #expect(try backend("memory-backend-ram,size=2G,id=m,prealloc=on").isPreallocated)
        #expect(try backend("memory-backend-memfd,size=2G,id=m,hugetlb=on").kind == .hugePages(size: nil))
        #expect(try backend("memory-backend-memfd,size=2G,id=m,hugetlb=on,hugetlbsize=2M,share=off").kind == .hugePages(size: 2 << 20))
        // As StratoVirt takes it: nodes that no policy is about.
        #expect(try backend("memory-backend-ram,size=2G,id=m,host-nodes=3").hostNodes == [3])
        for (word, policy) in [("preferred", VmConfig.MemoryBackend.Policy.preferred), ("interleave", .interleave), ("Default", .standard)] {
            #expect(try backend("memory-backend-ram,size=2G,id=m,host-nodes=[0:2],policy=\(word)").policy == policy)
        }
    }

    @Test(arguments: [
        ("memory-backend-ram,id=m", "-object memory-backend-ram: size= is missing"),
        ("memory-backend-ram,size=1G", "-object memory-backend-ram: id= is missing"),
        ("memory-backend-file,id=m,size=1G", "-object memory-backend-file: mem-path= is missing"),
        ("memory-backend-ram,id=m,size=1G,mem-path=/f", "-object memory-backend-ram: mem-path= is for memory-backend-file"),
        ("memory-backend-memfd,id=m,size=1G,mem-path=/f", "-object memory-backend-memfd: mem-path= is for memory-backend-file"),
        ("memory-backend-ram,id=m,size=0", "-object memory-backend-ram: size= must be from 4K to 512G, not '0'"),
        ("memory-backend-ram,id=m,size=513G", "-object memory-backend-ram: size= must be from 4K to 512G, not '513G'"),
        ("memory-backend-ram,id=m,size=5K", "-object memory-backend-ram: size= must be a multiple of 4K"),
        ("memory-backend-ram,id=m,size=1G,policy=bind", "-object memory-backend-ram: policy=bind needs host-nodes="),
        ("memory-backend-ram,id=m,size=1G,policy=any", "-object memory-backend-ram: policy= must be default, preferred, bind or interleave, not 'any'"),
        ("memory-backend-memfd,id=m,size=1G,hugetlbsize=2M", "-object memory-backend-memfd: hugetlbsize= needs hugetlb=on"),
        ("memory-backend-memfd,id=m,size=1G,hugetlb=on,hugetlbsize=3M", "-object memory-backend-memfd: hugetlbsize= must be a power of two"),
        ("memory-backend-memfd,id=m,size=3M,hugetlb=on,hugetlbsize=2M", "-object memory-backend-memfd: size= must be a multiple of hugetlbsize="),
        ("memory-backend-ram,id=m,size=1G,hugetlb=on", "-object memory-backend-ram: unknown parameter 'hugetlb'"),
    ])
    func wrongBackends_areRefused(_ value: String, _ sentence: String) { #expect(refusal(value) == sentence) }

    @Test func sameId_isRefused_alsoAmongDifferentKinds() {
        #expect(refusal("memory-backend-ram,id=m,size=1G", "memory-backend-memfd,id=m,size=1G") == "-object memory-backend-memfd: id 'm' is used twice")
        #expect(refusal("memory-backend-ram,id=m,size=1G", "iothread,id=m") == "accepted")
    }

    @Test(arguments: [
        ("0", [0]), ("127", [127]), ("0-3:8", [0, 1, 2, 3, 8]), ("[2:1]", [1, 2]), ("1-1:1:0-1", [0, 1]),
    ] as [(String, [UInt64])])
    func lists_areRanges(_ text: String, _ numbers: [UInt64]) throws {
        #expect(try backend("memory-backend-ram,id=m,size=1G,host-nodes=\(text)").hostNodes == numbers)
    }

    @Test(arguments: ["128", "0-128", "3-1", "-", "1-", "-1", "1-2-3", ":", "1::2", "[1", "1]", "[]", "a", "0x1", "99999999999999999999", "0-18446744073709551615"])
    func wrongLists_areRefused(_ text: String) {
        let sentence = "-object memory-backend-ram: host-nodes= must be a list such as 0-1:4 of numbers from 0 to 127, not '\(text)'"
        #expect(refusal("memory-backend-ram,id=m,size=1G,host-nodes=\(text)") == sentence)
    }

    /// A word as long as the kernel lets a command line be costs no memory for what it repeats.
    @Test func longList_isRead() throws {
        let text = [String](repeating: "0-127", count: 20_000).joined(separator: ":")
        #expect(try backend("memory-backend-ram,id=m,size=1G,host-nodes=\(text)").hostNodes.count == 128)
    }

    @Test func backendThatNothingUses_isSaid() throws {
        let config = try parse(Self.initrd + ["-object", "memory-backend-file,id=m,size=1G,mem-path=/f"])
        #expect(config.unusedParts(on: .x86_64) == ["-object memory-backend-file,id=m: nothing uses it"])
    }
}
