import AddressSpace
import Foundation
import LinuxSys
import Testing

@Suite struct ReleaseTests {
    private static let page: UInt64 = UInt64(sysconf(Int32(_SC_PAGESIZE)))

    /// RAM at 0 that reads 0x55 everywhere, all of it resident.
    private func filled(_ memory: HostMemory) throws -> AddressSpace {
        let space = AddressSpace(name: "memory", size: 1 << 40)
        try space.root.add(.ram(name: "ram", size: memory.size, memory: memory), at: 0)
        try space.memory.fill(at: 0, count: memory.size, byte: 0x55)
        return space
    }

    private func byte(_ space: AddressSpace, _ gpa: UInt64) throws -> UInt8 { try space.memory.load(UInt8.self, at: gpa) }

    /// How many pages of the mapping are in this process or in its file.
    private func residentPages(_ memory: HostMemory) -> Int {
        var pages = [UInt8](repeating: 0, count: Int(memory.size / Self.page))
        let result = unsafe mincore(UnsafeMutableRawPointer(bitPattern: memory.address), Int(memory.size), &pages)
        return result == 0 ? pages.count { $0 & 1 != 0 } : -1
    }

    @Test(arguments: [HostMemory.Options(), .shared]) func releasedPages_goAndReadZeros(_ options: HostMemory.Options) throws {
        let ram = try HostMemory.anonymous(size: 64 * Self.page, options: options)
        let space = try filled(ram)
        #expect(residentPages(ram) == 64)
        #expect(try space.memory.release(at: 8 * Self.page, count: 16 * Self.page) == 16 * Self.page)
        #expect(residentPages(ram) == 48)
        #expect(try byte(space, 8 * Self.page - 1) == 0x55)
        #expect(try byte(space, 8 * Self.page) == 0)
        #expect(try byte(space, 24 * Self.page - 1) == 0)
        #expect(try byte(space, 24 * Self.page) == 0x55)
    }

    @Test func releasedPage_comesBackWhenItIsWritten() throws {
        let space = try filled(.anonymous(size: 4 * Self.page))
        try space.memory.release(at: 0, count: Self.page)
        try space.memory.store(UInt32(0x1234), at: 16)
        #expect(try space.memory.load(UInt32.self, at: 16) == 0x1234)
        #expect(try space.memory.load(UInt32.self, at: 20) == 0)
    }

    /// Giving a shared page back only here would leave it in the file, and the peer with the old bytes.
    @Test func sharedMemory_losesThePagesForEverybody() throws {
        let ram = try HostMemory.anonymous(size: 64 * Self.page, options: .shared)
        let space = try filled(ram)
        var before = stat()
        var after = stat()
        #expect(unsafe fstat(ram.fileDescriptor, &before) == 0)
        try space.memory.release(at: 0, count: 32 * Self.page)
        #expect(unsafe fstat(ram.fileDescriptor, &after) == 0)
        #expect(before.st_size == after.st_size)
        #expect(before.st_blocks - after.st_blocks == Int(32 * Self.page / 512))
        var byte: UInt8 = 1
        #expect(unsafe pread(ram.fileDescriptor, &byte, 1, 0) == 1)
        #expect(byte == 0)
    }

    @Test func partsOfPages_stay() throws {
        let space = try filled(.anonymous(size: 8 * Self.page))
        #expect(try space.memory.release(at: 1, count: Self.page) == 0)
        #expect(try space.memory.release(at: 1, count: 2 * Self.page) == Self.page)
        #expect(try byte(space, Self.page - 1) == 0x55)
        #expect(try byte(space, Self.page) == 0)
        #expect(try byte(space, 2 * Self.page) == 0x55)
        #expect(try space.memory.release(at: 4 * Self.page, count: 1) == 0)
        #expect(try byte(space, 4 * Self.page) == 0x55)
    }

    @Test func rangeOverTwoRegions_isReleasedInBoth() throws {
        let page = Self.page
        let space = AddressSpace(name: "memory", size: 1 << 40)
        try space.root.add(ram("low", 4 * page), at: 0)
        try space.root.add(ram("high", 4 * page), at: 4 * page)
        try space.memory.fill(at: 0, count: 8 * page, byte: 0x55)
        #expect(try space.memory.release(at: 3 * page, count: 2 * page) == 2 * page)
        #expect(try byte(space, 3 * page) == 0 && byte(space, 4 * page) == 0)
        #expect(try byte(space, 2 * page) == 0x55 && byte(space, 5 * page) == 0x55)
    }

    /// The class of CVE-2021-3416: an address of the guest's that is no RAM.
    @Test func hostileRanges_areRefusedAndNothingGoes() throws {
        let page = Self.page
        let memory = try HostMemory.anonymous(size: 8 * page)
        let space = try filled(memory)
        try space.root.add(ram("rom", page, readOnly: true), at: 1 << 20)
        try space.root.add(io("device", page), at: 8 * page)
        func refusal(_ gpa: UInt64, _ count: UInt64) -> GuestMemoryError? {
            do { try space.memory.release(at: gpa, count: count) } catch { return error }
            return nil
        }
        #expect(refusal(0, 0) == .zeroLength(address: 0))
        #expect(refusal(7 * page, 2 * page) == .crossesEnd(address: 7 * page, count: 2 * page))
        #expect(refusal(0, .max) == .crossesEnd(address: 0, count: .max))
        #expect(refusal(page, .max) == .wraps(address: page, count: .max))
        #expect(refusal(.max, 2) == .wraps(address: .max, count: 2))
        #expect(refusal(8 * page, page) == .notRAM(address: 8 * page))
        #expect(refusal(1 << 39, page) == .notRAM(address: 1 << 39))
        #expect(refusal(1 << 20, page) == .readOnly(address: 1 << 20))
        #expect(residentPages(memory) == 8)
    }

    @Test(arguments: [HostMemory.Options(), .shared]) func hostRange_isReleased(_ options: HostMemory.Options) throws {
        let page = Self.page
        let memory = try HostMemory.anonymous(size: 8 * page, options: options)
        let space = try filled(memory)
        let range = try space.memory.hostRange(at: 2 * page, count: 3 * page)
        #expect(try space.memory.release(hostAddress: range.address, count: range.count) == 3 * page)
        #expect(try byte(space, 2 * page - 1) == 0x55 && byte(space, 2 * page) == 0 && byte(space, 5 * page) == 0x55)
        #expect(residentPages(memory) == 6)
        // Beyond the end, and what wraps.
        for count in [Int(7 * page), .max] {
            #expect(throws: GuestMemoryError.notRAM(address: UInt64(range.address))) { try space.memory.release(hostAddress: range.address, count: count) }
        }
        for (address, count) in [(range.address, 0), (range.address, -1), (0, 4096), (.max, 1)] as [(UInt, Int)] {
            #expect(throws: GuestMemoryError.notRAM(address: UInt64(address))) { try space.memory.release(hostAddress: address, count: count) }
        }
    }

    /// Pages of the monitor itself must never be taken, whatever becomes of a range.
    @Test func hostRangeOfARegionThatIsGone_isLeftAlone() throws {
        let space = AddressSpace(name: "memory", size: 1 << 40)
        let region = try ram("ram", 4 * Self.page)
        try space.root.add(region, at: 0)
        let range = try space.memory.hostRange(at: 0, count: Self.page)
        try space.root.remove(region)
        #expect(throws: GuestMemoryError.notRAM(address: UInt64(range.address))) { try space.memory.release(hostAddress: range.address, count: range.count) }
    }

    @Test func privateFile_isLeftAsItIs_sinceItsOldBytesWouldShow() throws {
        let page = Self.page
        let shared = try HostMemory.anonymous(size: 4 * page, options: .shared)
        _ = try filled(shared)
        let copy = OwnedFD(adopting: dup(shared.fileDescriptor))
        let space = AddressSpace(name: "memory", size: 1 << 40)
        try space.root.add(.ram(name: "ram", size: 4 * page, memory: .mapping(copy, size: 4 * page, options: [])), at: 0)
        try space.memory.fill(at: 0, count: page, byte: 0x66)
        #expect(try space.memory.release(at: 0, count: 4 * page) == 0)
        #expect(try byte(space, 0) == 0x66)
    }

    @Test func privateMappingOfAFileOfZeros_isReleased() throws {
        let page = Self.page
        let file = try HostMemory.anonymous(size: 4 * page, options: .shared)
        let copy = OwnedFD(adopting: dup(file.fileDescriptor))
        let space = try filled(.mapping(copy, size: 4 * page, options: .zeroFile))
        #expect(try space.memory.release(at: 0, count: 2 * page) == 2 * page)
        #expect(try byte(space, 0) == 0 && byte(space, 2 * page) == 0x55)
    }

    /// A hole of a part of a huge page would zero that part and free nothing.
    @Test func hugePages_goWholeOrNotAtAll() throws {
        let size: UInt64 = 2 << 20
        let fd = try hugeMemfd(4 * size)
        // A machine without reserved huge pages can map them, but not touch them: there the sizes are all that can be seen.
        let memory = try HostMemory.mapping(OwnedFD(adopting: fd), size: 4 * size)
        #expect(memory.pageSize == UInt(size))
        let space = AddressSpace(name: "memory", size: 1 << 40)
        try space.root.add(.ram(name: "ram", size: 4 * size, memory: memory), at: 0)
        #expect(try space.memory.release(at: 0, count: 1 << 20) == 0)
        #expect(try space.memory.release(at: 4096, count: size) == 0)
        #expect(try space.memory.release(at: 4096, count: 2 * size) == size)
        #expect(try space.memory.release(at: 0, count: 4 * size) == 4 * size)
    }

    /// memfd_create(2) with MFD_HUGETLB | MFD_HUGE_2MB; the C library's declaration does not import.
    private func hugeMemfd(_ size: UInt64) throws -> Int32 {
        typealias Create = @convention(c) (UnsafePointer<CChar>, UInt32) -> Int32
        let symbol = unsafe try #require(dlsym(nil, "memfd_create"))
        let fd = unsafe unsafeBitCast(symbol, to: Create.self)("huge", 4 | 21 << 26)
        try #require(fd >= 0 && ftruncate(fd, Int(size)) == 0)
        return fd
    }
}
