import AddressSpace
import Testing

struct AccessTests {
    let space = AddressSpace(name: "space", size: 0x10_0000)

    @Test func io_getsOffsetSizeAndMaskedValue() throws {
        let ops = RecordingOps(answer: 0x1122_3344_5566_7788)
        try space.root.add(io("device", 0x10, ops), at: 0x100)
        #expect(space.read(at: 0x104, size: 2) == 0x7788)
        #expect(space.read(at: 0x108, size: 8) == 0x1122_3344_5566_7788)
        #expect(space.read(at: 0x100, size: 3) == 0x66_7788)
        #expect(space.write(at: 0x10f, size: 1, value: 0xabcd))
        #expect(ops.reads == [.init(offset: 4, size: 2), .init(offset: 8, size: 8), .init(offset: 0, size: 3)])
        #expect(ops.writes == [.init(offset: 15, size: 1, value: 0xcd)])
    }

    @Test func access_inHoleOrAcrossRegions_isNotAnswered() throws {
        let a = RecordingOps()
        let b = RecordingOps()
        try space.root.add(io("a", 0x10, a), at: 0x100)
        try space.root.add(io("b", 0x10, b), at: 0x110)
        #expect(space.read(at: 0xff, size: 1) == nil)
        #expect(space.read(at: 0xff, size: 2) == nil)
        #expect(space.read(at: 0x10e, size: 4) == nil)
        #expect(!space.write(at: 0x10f, size: 2, value: 0))
        #expect(!space.write(at: 0x11d, size: 4, value: 0))
        #expect(!space.write(at: .max, size: 8, value: 0))
        #expect(a.reads == [] && b.reads == [] && a.writes == [] && b.writes == [])
    }

    @Test(arguments: [Int.min, -1, 0, 9, Int.max])
    func access_ofImpossibleSize_isNotAnswered(size: Int) throws {
        try space.root.add(io("a", 0x100), at: 0)
        #expect(space.read(at: 0, size: size) == nil)
        #expect(!space.write(at: 0, size: size, value: 0))
    }

    @Test func wideAccess_toNarrowDevice_isSplitLowestFirst() throws {
        let ops = RecordingOps()
        try space.root.add(.io(name: "narrow", size: 8, ops: ops, maxAccessSize: 2), at: 0)
        #expect(space.read(at: 0, size: 5) == 0x04_0002_0000)
        #expect(ops.reads == [.init(offset: 0, size: 2), .init(offset: 2, size: 2), .init(offset: 4, size: 1)])
        space.write(at: 0, size: 8, value: 0x8877_6655_4433_2211)
        #expect(ops.writes.map(\.value) == [0x2211, 0x4433, 0x6655, 0x8877])
        #expect(throws: AddressSpaceError.badAccessSize("x", 3)) { try Region.io(name: "x", size: 8, ops: ops, maxAccessSize: 3) }
    }

    @Test func ram_isPlainMemory_everySizeAndAlignment() throws {
        try space.root.add(ram("ram", 4096), at: 0x1000)
        for size in 1...8 {
            for start: UInt64 in 0x1000..<0x1010 {
                let value = (0x8182_8384_8586_8788 as UInt64) >> UInt64(64 - 8 * size)
                #expect(space.write(at: start, size: size, value: value))
                #expect(space.read(at: start, size: size) == value)
            }
        }
        #expect(space.read(at: 0x1ffc, size: 8) == nil)
        #expect(space.read(at: 0x1ff8, size: 8) == 0)
    }

    @Test func readOnlyRAM_dropsWrites() throws {
        try space.root.add(ram("rom", 4096, readOnly: true), at: 0)
        #expect(!space.write(at: 0, size: 4, value: 1))
        #expect(space.read(at: 0, size: 4) == 0)
        #expect(space.flatRanges()[0].readOnly)
    }

    @Test func romDevice_readsMemory_writesToDevice() throws {
        let memory = try HostMemory.anonymous(size: 4096)
        let ops = RecordingOps(answer: 0x55)
        let rom = try Region.romDevice(name: "flash", size: 4096, memory: memory, ops: ops)
        // The same bytes, writable elsewhere.
        try space.root.add(.ram(name: "back", size: 4096, memory: memory), at: 0x8000)
        try space.root.add(rom, at: 0)
        space.write(at: 0x8010, size: 4, value: 0xdead_beef)
        #expect(space.read(at: 0x10, size: 4) == 0xdead_beef)
        #expect(space.write(at: 0x10, size: 1, value: 0x20))
        #expect(ops.writes == [.init(offset: 0x10, size: 1, value: 0x20)])
        #expect(ops.reads == [])
        try rom.setROMMode(false)
        #expect(space.read(at: 0x10, size: 1) == 0x55)
    }

    @Test func ramDevice_answersTheGuest() throws {
        try space.root.add(.ramDevice(name: "bar", size: 4096, memory: .anonymous(size: 4096)), at: 0)
        #expect(space.write(at: 8, size: 8, value: 42))
        #expect(space.read(at: 8, size: 8) == 42)
    }

    /// A BAR that moves itself: the device is called outside the read section, so it may start a transaction.
    @Test func device_mayChangeTheSpaceItIsCalledFrom() throws {
        let box = try Region.container(name: "box", size: 0x1000)
        try space.root.add(box, at: 0)
        let bar = try io("bar", 0x10)
        let root = space.root
        let ops = ClosureOps { value in
            do throws(AddressSpaceError) {
                if bar.name == "bar", value == 1 { try root.add(bar, at: 0x8000) } else { try root.remove(bar) }
            } catch {
                Issue.record(error)
            }
        }
        try box.add(.io(name: "config", size: 4, ops: ops), at: 0)
        #expect(space.read(at: 0x8004, size: 4) == nil)
        space.write(at: 0, size: 4, value: 1)
        #expect(space.read(at: 0x8004, size: 4) == 4)
        space.write(at: 0, size: 4, value: 0)
        #expect(space.read(at: 0x8004, size: 4) == nil)
    }
}
