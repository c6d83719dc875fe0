import AddressSpace
import Foundation
import Testing

@Suite struct HugePageTests {
    /// Whether the kernel was advised to take huge pages for the mapping at this address: "hg" among the flags in smaps.
    private func isAdvised(_ address: UInt) throws -> Bool {
        let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
        let text = String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
        var isHere = false
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.hasPrefix("VmFlags:") {
                if isHere { return words.contains("hg") }
            } else if let range = words.first?.split(separator: "-"), range.count == 2, let start = UInt(range[0], radix: 16), let end = UInt(range[1], radix: 16) {
                isHere = (start..<end).contains(address)
            }
        }
        return false
    }

    @Test func privateMemoryIsAdvised_onceItIsAskedFor_andNoOther() throws {
        let knows = FileManager.default.fileExists(atPath: "/sys/kernel/mm/transparent_hugepage/enabled")
        let space = AddressSpace(name: "memory", size: 1 << 40)
        let size: UInt64 = 8 << 20
        let mine = try HostMemory.anonymous(size: size), shared = try HostMemory.anonymous(size: size, options: .shared), hidden = try HostMemory.anonymous(size: size)
        try space.root.add(.ram(name: "mine", size: size, memory: mine), at: 0)
        try space.root.add(.ram(name: "shared", size: size, memory: shared), at: 2 * size)
        #expect(try !isAdvised(mine.address))
        space.memory.preferHugePages()
        #expect(try isAdvised(mine.address) == knows)
        #expect(try isAdvised(mine.address + UInt(size) - 1) == knows)
        #expect(try !isAdvised(shared.address))
        #expect(try !isAdvised(hidden.address))
    }
}
