import AddressSpace
import Testing

struct FlatViewTests {
    let space = AddressSpace(name: "space", size: 1000)

    @Test func overlap_higherPriority_shows() throws {
        try space.root.add(io("low", 100), at: 100)
        try space.root.add(io("high", 20), at: 140, priority: 1)
        #expect(layout(space) == ["low@100+40(0)", "high@140+20(0)", "low@160+40(60)"])
    }

    @Test func overlap_lowerPriorityAddedLater_fillsGapsOnly() throws {
        try space.root.add(io("a", 10), at: 10)
        try space.root.add(io("b", 10), at: 30)
        try space.root.add(io("below", 50), at: 0, priority: -5)
        #expect(layout(space) == ["below@0+10(0)", "a@10+10(0)", "below@20+10(20)", "b@30+10(0)", "below@40+10(40)"])
    }

    @Test func overlap_equalPriority_laterAddedWins() throws {
        try space.root.add(io("first", 10), at: 0)
        try space.root.add(io("second", 10), at: 5)
        #expect(layout(space) == ["first@0+5(0)", "second@5+10(0)"])
    }

    @Test func remove_uncoversWhatWasBelow() throws {
        let top = try io("top", 10)
        try space.root.add(io("below", 10), at: 5, priority: -1)
        try space.root.add(top, at: 0)
        try space.root.remove(top)
        #expect(layout(space) == ["below@5+10(0)"])
        #expect(throws: AddressSpaceError.notAChild(child: "top", parent: "space")) { try space.root.remove(top) }
        try space.root.add(top, at: 50)
        #expect(layout(space).count == 2)
    }

    @Test func container_holes_showLowerSiblings() throws {
        let bus = try Region.container(name: "bus", size: 100)
        try bus.add(io("device", 10), at: 20)
        try space.root.add(io("below", 100), at: 0)
        try space.root.add(bus, at: 0, priority: 1)
        #expect(layout(space) == ["below@0+20(0)", "device@20+10(0)", "below@30+70(30)"])
    }

    @Test func containerPriority_beatsChildPriority() throws {
        let weak = try Region.container(name: "weak", size: 10)
        try weak.add(io("loud", 10), at: 0, priority: 100)
        try space.root.add(weak, at: 0, priority: 0)
        try space.root.add(io("winner", 10), at: 0, priority: 1)
        #expect(layout(space) == ["winner@0+10(0)"])
    }

    @Test func alias_showsWindow() throws {
        let whole = try ram("ram", 4096)
        try space.root.add(.alias(name: "window", of: whole, offset: 1000, size: 100), at: 300)
        #expect(layout(space) == ["ram@300+100(1000)"])
        let range = space.flatRanges()[0]
        #expect(range.hostAddress == whole.memory!.address + 1000)
        #expect(range.kind == .ram && !range.readOnly)
    }

    @Test func alias_beyondTargetEnd_isClipped() throws {
        let whole = try io("io", 100)
        try space.root.add(.alias(name: "window", of: whole, offset: 90, size: 100), at: 0)
        try space.root.add(.alias(name: "outside", of: whole, offset: 100, size: 100), at: 200)
        #expect(layout(space) == ["io@0+10(90)"])
    }

    @Test func alias_ofAliasOfContainer_composes() throws {
        let bus = try Region.container(name: "bus", size: 100)
        try bus.add(io("device", 50), at: 25)
        let inner = try Region.alias(name: "inner", of: bus, offset: 20, size: 40)  // device bytes 0..<35 at 5
        let outer = try Region.alias(name: "outer", of: inner, offset: 10, size: 100)
        try space.root.add(outer, at: 500)
        #expect(layout(space) == ["device@500+30(5)"])
    }

    @Test func alias_targetChangedLater_isRenderedAgain() throws {
        let bus = try Region.container(name: "bus", size: 100)
        try space.root.add(.alias(name: "window", of: bus, size: 100), at: 0)
        #expect(layout(space) == [])
        try bus.add(io("device", 10), at: 1)
        #expect(layout(space) == ["device@1+10(0)"])
    }

    @Test func adjacentAliases_ofOneRegion_mergeIntoOneRange() throws {
        let whole = try ram("ram", 4096)
        try space.root.add(.alias(name: "a", of: whole, offset: 0, size: 100), at: 0)
        try space.root.add(.alias(name: "b", of: whole, offset: 100, size: 50), at: 100)
        try space.root.add(.alias(name: "c", of: whole, offset: 200, size: 50), at: 150)
        #expect(layout(space) == ["ram@0+150(0)", "ram@150+50(200)"])
    }

    /// A machine's RAM is one region; the address space shows it around the hole below 4 GiB.
    @Test func ramOver3GiB_continuesAt4GiB() throws {
        let memory = AddressSpace(name: "memory", size: 1 << 52)
        let whole = try ram("ram", 5 << 30)
        try memory.transaction { () throws(AddressSpaceError) in
            try memory.root.add(.alias(name: "below", of: whole, offset: 0, size: 3 << 30), at: 0)
            try memory.root.add(.alias(name: "above", of: whole, offset: 3 << 30, size: 2 << 30), at: 4 << 30)
        }
        #expect(memory.memory.ramRanges() == [.init(base: 0, size: 3 << 30), .init(base: 4 << 30, size: 2 << 30)])
        try memory.memory.store(1 as UInt64, at: 4 << 30)
        #expect(throws: GuestMemoryError.crossesEnd(address: (3 << 30) - 4, count: 8)) { try memory.memory.load(UInt64.self, at: (3 << 30) - 4) }
        #expect(throws: GuestMemoryError.notRAM(address: 3 << 30)) { try memory.memory.load(UInt8.self, at: 3 << 30) }
        let high = try memory.memory.hostRange(at: 4 << 30, count: 1)
        #expect(high.address == whole.memory!.address + (3 << 30))
    }

    @Test func romDevice_switchesBetweenMemoryAndIO() throws {
        let rom = try Region.romDevice(name: "flash", size: 64, memory: .anonymous(size: 64), ops: RecordingOps())
        try space.root.add(rom, at: 0)
        #expect(space.flatRanges()[0].kind == .romDevice)
        #expect(space.flatRanges()[0].readOnly)
        try rom.setROMMode(false)
        #expect(space.flatRanges()[0].kind == .io)
        #expect(space.flatRanges()[0].hostAddress == 0)
        try rom.setROMMode(true)
        #expect(space.flatRanges()[0].kind == .romDevice)
        let plain = try io("plain", 1)
        #expect(throws: AddressSpaceError.wrongKind("plain")) { try plain.setROMMode(true) }
    }

    @Test func fullSpace_of64Bits_works() throws {
        let huge = AddressSpace(name: "huge", size: .max)
        try huge.root.add(io("all", .max), at: 0, priority: -1)
        try huge.root.add(io("end", 1), at: .max - 1)
        #expect(layout(huge) == ["all@0+\(UInt64.max - 1)(0)", "end@\(UInt64.max - 1)+1(0)"])
        #expect(huge.read(at: .max - 1, size: 1) == 0)
        #expect(huge.read(at: .max - 1, size: 2) == nil)
        #expect(huge.read(at: .max, size: 1) == nil)
        #expect(huge.read(at: .max, size: 8) == nil)
    }
}

/// What a tree refuses.
struct RegionErrorTests {
    let space = AddressSpace(name: "space", size: 1000)

    @Test func size0_isRefused() throws {
        let memory = try HostMemory.anonymous(size: 4096)
        #expect(throws: AddressSpaceError.zeroSize("r")) { try Region.io(name: "r", size: 0, ops: RecordingOps()) }
        #expect(throws: AddressSpaceError.zeroSize("r")) { try Region.container(name: "r", size: 0) }
        #expect(throws: AddressSpaceError.zeroSize("r")) { try Region.ram(name: "r", size: 0, memory: memory) }
        #expect(throws: AddressSpaceError.zeroSize("r")) { try Region.alias(name: "r", of: space.root, size: 0) }
    }

    @Test func child_overTheEnd_isRefused() throws {
        #expect(throws: AddressSpaceError.outsideParent(child: "r", parent: "space")) { try space.root.add(io("r", 10), at: 991) }
        #expect(throws: AddressSpaceError.overflow("r")) { try space.root.add(io("r", 10), at: .max - 9 + 1) }
        try space.root.add(io("r", 10), at: 990)
    }

    @Test func alias_thatWraps_isRefused() {
        #expect(throws: AddressSpaceError.overflow("r")) { try Region.alias(name: "r", of: space.root, offset: .max, size: 1) }
    }

    @Test func ram_beyondItsHostMemory_isRefused() throws {
        let memory = try HostMemory.anonymous(size: 8192)
        #expect(throws: AddressSpaceError.outsideHostMemory("r")) { try Region.ram(name: "r", size: 8193, memory: memory) }
        #expect(throws: AddressSpaceError.outsideHostMemory("r")) {
            try Region.ram(name: "r", size: 4097, memory: memory, memoryOffset: 4096)
        }
        #expect(throws: AddressSpaceError.outsideHostMemory("r")) {
            try Region.ram(name: "r", size: 4096, memory: memory, memoryOffset: .max - 4095)
        }
        _ = try Region.ram(name: "r", size: 4096, memory: memory, memoryOffset: 4096)
    }

    @Test func onlyContainers_haveChildren() throws {
        let leaf = try io("leaf", 10)
        #expect(throws: AddressSpaceError.notAContainer("leaf")) { try leaf.add(io("r", 1), at: 0) }
    }

    @Test func region_inTwoPlaces_isRefused() throws {
        let region = try io("r", 1)
        try space.root.add(region, at: 0)
        #expect(throws: AddressSpaceError.alreadyPlaced("r")) { try space.root.add(region, at: 10) }
        let other = AddressSpace(name: "other", size: 1000)
        let box = try Region.container(name: "box", size: 1000)
        #expect(throws: AddressSpaceError.alreadyPlaced("other")) { try box.add(other.root, at: 0) }
    }

    @Test func cycle_throughChildrenAndAliases_isRefused() throws {
        let outer = try Region.container(name: "outer", size: 100)
        let inner = try Region.container(name: "inner", size: 100)
        #expect(throws: AddressSpaceError.cycle("outer")) { try outer.add(outer, at: 0) }
        try outer.add(inner, at: 0)
        #expect(throws: AddressSpaceError.cycle("outer")) { try inner.add(outer, at: 0) }
        let window = try Region.alias(name: "window", of: outer, size: 10)
        #expect(throws: AddressSpaceError.cycle("window")) { try inner.add(window, at: 0) }
        let second = try Region.alias(name: "second", of: window, size: 10)
        #expect(throws: AddressSpaceError.cycle("second")) { try inner.add(second, at: 0) }
        let toRoot = try Region.alias(name: "toRoot", of: space.root, size: 10)
        #expect(throws: AddressSpaceError.cycle("toRoot")) { try space.root.add(toRoot, at: 0) }
    }

    @Test func nesting_tooDeep_isRefusedAndTakenBack() throws {
        var chain = try io("leaf", 10)
        for _ in 0..<AddressSpace.maxDepth + 1 { chain = try .alias(name: "alias", of: chain, size: 10) }
        #expect(throws: AddressSpaceError.self) { try space.root.add(chain, at: 0) }
        #expect(layout(space) == [])
        let free = try Region.container(name: "free", size: 10)
        try free.add(chain, at: 0)  // it was left without a parent
    }

    /// "Billion laughs": each level shows the one below twice.
    @Test func aliases_multiplying_areRefusedSoon() throws {
        var level = try Region.container(name: "level", size: 1)
        for depth in 1...14 {
            let above = try Region.container(name: "level", size: 1 << depth)
            for half: UInt64 in 0...1 {
                try above.add(.alias(name: "half", of: level, size: level.size), at: half << UInt64(depth - 1))
            }
            level = above
        }
        let wide = AddressSpace(name: "wide", size: 1 << 20)
        #expect(throws: AddressSpaceError.self) { try wide.root.add(level, at: 0) }
        #expect(layout(wide) == [])
    }

    @Test func spaceOfSize0_refusesAll() {
        let none = AddressSpace(name: "none", size: 0)
        #expect(throws: AddressSpaceError.outsideParent(child: "r", parent: "none")) { try none.root.add(io("r", 1), at: 0) }
        #expect(none.read(at: 0, size: 1) == nil)
    }
}
