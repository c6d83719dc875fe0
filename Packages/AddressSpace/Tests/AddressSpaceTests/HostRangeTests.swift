import AddressSpace
import Foundation
import LinuxSys
import Testing

@Suite struct HostRangeTests {
    private static let page: UInt64 = UInt64(sysconf(Int32(_SC_PAGESIZE)))

    private func filled(_ memory: HostMemory) throws -> AddressSpace {
        let space = AddressSpace(name: "memory", size: 1 << 40)
        try space.root.add(.ram(name: "ram", size: memory.size, memory: memory), at: 0)
        try space.memory.fill(at: 0, count: memory.size, byte: 0x55)
        return space
    }

    private func residentPages(_ memory: HostMemory) -> Int {
        var pages = [UInt8](repeating: 0, count: Int(memory.size / Self.page))
        let result = unsafe mincore(UnsafeMutableRawPointer(bitPattern: memory.address), Int(memory.size), &pages)
        return result == 0 ? pages.count { $0 & 1 != 0 } : -1
    }

    @Test(arguments: [HostMemory.Options(), .shared]) func discardedPages_goAndReadZeros(_ options: HostMemory.Options) throws {
        let memory = try HostMemory.anonymous(size: 16 * Self.page, options: options)
        let space = try filled(memory)
        try memory.discard(4 * Self.page..<12 * Self.page)
        #expect(residentPages(memory) == 8)
        let bytes = try space.memory.bytes(at: 0, count: memory.size, limit: memory.size)
        #expect(bytes.indices.allSatisfy { bytes[$0] == ((4 * Int(Self.page)..<12 * Int(Self.page)).contains($0) ? 0 : 0x55) })
    }

    @Test(arguments: [HostMemory.Options(), .shared]) func populatedPages_areThere(_ options: HostMemory.Options) throws {
        let memory = try HostMemory.anonymous(size: 16 * Self.page, options: options)
        try memory.populate(4 * Self.page..<12 * Self.page)
        #expect(residentPages(memory) == 8)
        #expect(throws: Errno.invalid) { try memory.populate(15 * Self.page..<17 * Self.page) }
    }

    @Test func rangesThatAreNotWholePagesOfIt_areRefused() throws {
        let memory = try HostMemory.anonymous(size: 4 * Self.page)
        let space = try filled(memory)
        for range in [1..<Self.page, 0..<Self.page - 1, 0..<5 * Self.page, 4 * Self.page..<5 * Self.page, UInt64.max - 1..<UInt64.max] {
            #expect(throws: Errno.invalid) { try memory.discard(range) }
        }
        #expect(residentPages(memory) == 4)
        #expect(try space.memory.load(UInt8.self, at: 0) == 0x55)
        // Nothing is a range too.
        try memory.discard(4 * Self.page..<4 * Self.page)
    }
}
