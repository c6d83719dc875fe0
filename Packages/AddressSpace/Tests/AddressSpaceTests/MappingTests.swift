import AddressSpace
import LinuxSys
import Testing

@Suite struct MappingTests {
    private func space(_ parts: [(base: UInt64, size: UInt64, offset: UInt64, readOnly: Bool)], _ memory: HostMemory) throws -> AddressSpace {
        let space = AddressSpace(name: "memory", size: 1 << 40)
        for (index, part) in parts.enumerated() {
            let region = try Region.ram(
                name: "ram\(index)", size: part.size, memory: memory, memoryOffset: part.offset, readOnly: part.readOnly)
            try space.root.add(region, at: part.base)
        }
        return space
    }

    @Test func sharedMemory_tellsFileAndOffsetOfEachPiece() throws {
        let ram = try HostMemory.anonymous(size: 4 << 20, options: .shared)
        let space = try space([(0, 1 << 20, 0, false), (1 << 32, 3 << 20, 1 << 20, false)], ram)
        #expect(space.memory.writableMappings() == [
            RAMMapping(base: 0, size: 1 << 20, address: ram.address, file: .init(descriptor: ram.fileDescriptor, offset: 0)),
            RAMMapping(base: 1 << 32, size: 3 << 20, address: ram.address + (1 << 20), file: .init(descriptor: ram.fileDescriptor, offset: 1 << 20)),
        ])
    }

    @Test func piecesThatGoOnInBothWorlds_areOne() throws {
        let ram = try HostMemory.anonymous(size: 4 << 20, options: .shared)
        let space = try space([(0, 1 << 20, 0, false), (1 << 20, 3 << 20, 1 << 20, false)], ram)
        #expect(space.memory.writableMappings().map(\.size) == [4 << 20])
    }

    @Test func privateMemory_hasNoFile() throws {
        let ram = try HostMemory.anonymous(size: 1 << 20)
        let space = try space([(0, 1 << 20, 0, false)], ram)
        #expect(space.memory.writableMappings().map(\.file) == [nil])
        // A private mapping of a file shows the file's bytes, but not what is written here.
        let file = try HostMemory.mapping(try SysFile.open("/proc/self/exe", .readOnly), size: 4096, options: [])
        let other = try self.space([(0, 4096, 0, false)], file)
        #expect(other.memory.writableMappings().map(\.file) == [nil])
    }

    @Test func fileMappedFromTheMiddle_countsFromTheFilesStart() throws {
        let whole = try HostMemory.anonymous(size: 1 << 20, options: .shared)
        let copy = try OwnedFD(adopting: whole.fileDescriptor).duplicateAndForget()
        let ram = try HostMemory.mapping(copy, offset: 0x4000, size: 0x8000)
        let space = try space([(0x1000, 0x2000, 0x1000, false)], ram)
        #expect(space.memory.writableMappings().first?.file?.offset == 0x5000)
    }

    @Test func readOnlyMemory_isNotHandedOut() throws {
        let ram = try HostMemory.anonymous(size: 2 << 20, options: .shared)
        let space = try space([(0, 1 << 20, 0, false), (1 << 20, 1 << 20, 1 << 20, true)], ram)
        #expect(space.memory.ramRanges().count == 2)
        #expect(space.memory.writableMappings().map(\.base) == [0])
    }

    @Test func announcedMemory_isHandedOutWhole_whateverTheGuestHasOfIt() throws {
        let ram = try HostMemory.anonymous(size: 4 << 20, options: .shared)
        let more = try HostMemory.anonymous(size: 8 << 20, options: .shared)
        let space = try space([(1 << 33, 4 << 20, 0, false)], ram)
        space.memory.announce(more, at: 1 << 32)
        let whole = RAMMapping(base: 1 << 32, size: 8 << 20, address: more.address, file: .init(descriptor: more.fileDescriptor, offset: 0))
        #expect(space.memory.writableMappings().map(\.base) == [1 << 32, 1 << 33])
        #expect(space.memory.writableMappings().first == whole)
        // Two parts of it that do not touch.
        for offset in [0, 4 << 20] as [UInt64] {
            try space.root.add(try .ram(name: "part", size: 2 << 20, memory: more, memoryOffset: offset), at: (1 << 32) + offset)
        }
        #expect(space.memory.ramRanges().count == 3)
        #expect(space.memory.writableMappings().map(\.base) == [1 << 32, 1 << 33])
        #expect(space.memory.writableMappings().first == whole)
        // What the guest does not have is no RAM to devices.
        #expect(space.memory.isRAM(at: 1 << 32, count: 2 << 20))
        #expect(!space.memory.isRAM(at: (1 << 32) + (2 << 20), count: 1))
    }
}

extension OwnedFD {
    /// A duplicate, for a number that somebody else owns.
    fileprivate consuming func duplicateAndForget() throws -> OwnedFD {
        let copy = try duplicate()
        _ = take()
        return copy
    }
}
