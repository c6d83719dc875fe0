import AddressSpace
import Foundation
import LinuxSys
import Testing

struct HostMemoryTests {
    @Test func size0OrAbsurd_isRefused() {
        #expect(throws: AddressSpaceError.zeroSize("guest memory")) { try HostMemory.anonymous(size: 0) }
        #expect(throws: AddressSpaceError.overflow("guest memory")) { try HostMemory.anonymous(size: .max) }
        #expect(throws: AddressSpaceError.overflow("guest memory")) { try HostMemory.anonymous(size: 1 << 63) }
        #expect(throws: AddressSpaceError.system("map guest memory", .noMemory)) { try HostMemory.anonymous(size: 1 << 60) }
    }

    @Test func bigMemory_isLazyAndHugePageAligned() throws {
        let memory = try HostMemory.anonymous(size: 64 << 30)
        #expect(memory.address % (2 << 20) == 0)
        let line = try #require(smaps(memory.address))
        #expect(line["Rss"] == "0 kB")
        #expect(line["Size"] == "\(64 << 20) kB")
    }

    @Test func mapping_hasGuardPagesOnBothSides() throws {
        for size: UInt64 in [1, 4096, 5000, 4 << 20] {
            let memory = try HostMemory.anonymous(size: size)
            let length = UInt((size + 4095) / 4096 * 4096)
            #expect(permissions(memory.address) == "rw-p")
            #expect(permissions(memory.address + length - 1) == "rw-p")
            #expect(permissions(memory.address - 1) == "---p")
            #expect(permissions(memory.address + length) == "---p")
        }
    }

    @Test func lastOwnerGone_isUnmapped() throws {
        var memory: HostMemory? = try .anonymous(size: 1 << 20)
        let address = try #require(memory?.address)
        #expect(permissions(address) == "rw-p")
        memory = nil
        #expect(permissions(address) != "rw-p")
    }

    @Test func excludedFromDump_isMarked() throws {
        let memory = try HostMemory.anonymous(size: 1 << 20, options: [.excludedFromDump])
        let flags = try #require(smaps(memory.address)?["VmFlags"])
        #expect(flags.split(separator: " ").contains("dd"))
        let plain = try HostMemory.anonymous(size: 1 << 20)
        #expect(plain.fileDescriptor == -1)
        let others = try #require(smaps(plain.address)?["VmFlags"]).split(separator: " ")
        #expect(!others.contains("dd") && !others.contains("hg"))
    }

    /// A peer that truncates shared RAM would kill the monitor with SIGBUS.
    @Test func shared_isASealedFileThatNobodyCanTruncate() throws {
        let memory = try HostMemory.anonymous(size: 1 << 20, options: [.shared])
        #expect(permissions(memory.address) == "rw-s")
        #expect(ftruncate(memory.fileDescriptor, 0) == -1 && errno == EPERM)
        let space = AddressSpace(name: "space", size: 1 << 20)
        try space.root.add(.ram(name: "ram", size: 1 << 20, memory: memory), at: 0)
        try space.memory.store(0x5a as UInt8, at: 100)
        var byte: UInt8 = 0
        #expect(unsafe pread(memory.fileDescriptor, &byte, 1, 100) == 1)
        #expect(byte == 0x5a)
    }

    @Test func fileMapping_showsTheFile() throws {
        let path = NSTemporaryDirectory() + "addressspace-\(UUID().uuidString)"
        try Data(repeating: 7, count: 8192).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let memory = try HostMemory.mapping(
            SysFile.open(path, .readOnly), offset: 4096, size: 4096, writable: false)
        #expect(permissions(memory.address) == "r--s")
        let space = AddressSpace(name: "space", size: 4096)
        try space.root.add(.ramDevice(name: "bar", size: 4096, memory: memory, readOnly: true), at: 0)
        #expect(space.read(at: 4088, size: 8) == 0x0707_0707_0707_0707)
        #expect(!space.write(at: 0, size: 1, value: 1))
        #expect(throws: AddressSpaceError.system("map guest memory", .invalid)) {
            try HostMemory.mapping(SysFile.open(path, .readOnly), offset: 1, size: 1, writable: false)
        }
    }

    /// I/O in flight may still go to memory that the guest has lost (use after unmap).
    @Test func removedRAM_staysMappedUntilReleased() throws {
        let space = AddressSpace(name: "space", size: 1 << 20)
        var region: Region? = try ram("ram", 1 << 20)
        try space.root.add(#require(region), at: 0)
        let range = try space.memory.hostRange(at: 0, count: 4096)
        try space.root.remove(#require(region))
        region = nil
        #expect(permissions(range.address) == "rw-p")
        #expect(!space.memory.isRAM(at: 0, count: 1))
        #expect(space.releaseHiddenMemory())
        #expect(permissions(range.address) != "rw-p")
    }

    private func lines() -> [Substring] {
        let data = FileHandle(forReadingAtPath: "/proc/self/smaps")?.readDataToEndOfFile() ?? Data()
        return String(decoding: data, as: UTF8.self).split(separator: "\n")
    }

    /// The header's permissions of the mapping that holds `address`; nil when there is none.
    private func permissions(_ address: UInt) -> String? { smaps(address)?["permissions"] }

    private func smaps(_ address: UInt) -> [String: String]? {
        var found: [String: String]?
        for line in lines() {
            let words = line.split(separator: " ")
            guard let first = words.first else { continue }
            if first.hasSuffix(":") {
                let key = String(first.dropLast())
                if found != nil { found?[key] = words.dropFirst().joined(separator: " ") }
                continue
            }
            if found != nil { return found }
            let ends = first.split(separator: "-").compactMap { UInt($0, radix: 16) }
            if ends.count == 2, ends[0] <= address, address < ends[1] { found = ["permissions": String(words[1])] }
        }
        return found
    }
}
