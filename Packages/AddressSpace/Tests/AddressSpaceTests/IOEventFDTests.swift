import AddressSpace
import LinuxSys
import Synchronization
import Testing

struct IOEventFDTests {
    let space = AddressSpace(name: "space", size: 0x10000)
    let listener = RecordingListener()
    let ops = RecordingOps()
    let region: Region

    init() throws {
        region = try io("device", 0x200, ops)
        try space.addListener(listener)
        try space.root.add(region, at: 0x1000)
    }

    @Test func addAndRemove_reachListenersAtAbsoluteAddress() throws {
        let event = try EventFD()
        try region.addIOEventFD(offset: 0x50, size: 4, datamatch: 1, event: event)
        #expect(listener.events == [IOEventFD(address: 0x1050, size: 4, datamatch: 1, event: event)])
        #expect(listener.rangeCallCount == 1, "the ranges did not change")
        try region.removeIOEventFD(offset: 0x50, size: 4, datamatch: 1, event: event)
        #expect(listener.events == [])
        #expect(listener.eventCallCount == 2)
    }

    @Test func severalQueues_differByDatamatch_onlyTheNewIsAdded() throws {
        for queue: UInt64 in 0..<4 { try region.addIOEventFD(offset: 0x50, size: 4, datamatch: queue, event: EventFD()) }
        #expect(listener.eventCallCount == 4)
        #expect(listener.state.withLock { $0.eventCalls.allSatisfy { $0.removed.isEmpty && $0.added.count == 1 } })
        #expect(listener.events.map(\.datamatch) == [0, 1, 2, 3])
    }

    @Test func movedRegion_movesItsEvents() throws {
        try region.addIOEventFD(offset: 0x50, size: 4, event: EventFD())
        try space.transaction { () throws(AddressSpaceError) in
            try space.root.remove(region)
            try space.root.add(region, at: 0x2000)
        }
        #expect(listener.events.map(\.address) == [0x2050])
        #expect(listener.eventCallCount == 2)
        #expect(listener.complaints == [])
    }

    @Test func coveredEvent_disappears_andComesBack() throws {
        try region.addIOEventFD(offset: 0x50, size: 4, event: EventFD())
        let cover = try io("cover", 2)
        try space.root.add(cover, at: 0x1052, priority: 1)
        #expect(listener.events == [], "half an event is none")
        try space.root.remove(cover)
        #expect(listener.events.map(\.address) == [0x1050])
    }

    @Test func aliasedEvent_appearsInTheWindowToo() throws {
        try region.addIOEventFD(offset: 0x50, size: 4, event: EventFD())
        try space.root.add(.alias(name: "window", of: region, offset: 0x40, size: 0x100), at: 0x8000)
        #expect(listener.events.map(\.address) == [0x1050, 0x8010])
    }

    @Test func badEvents_areRefused() throws {
        let event = try EventFD()
        func refuses(_ offset: UInt64, _ size: Int, _ match: UInt64? = nil) {
            #expect(throws: AddressSpaceError.badIOEventFD(region: "device", offset: offset)) {
                try region.addIOEventFD(offset: offset, size: size, datamatch: match, event: event)
            }
        }
        refuses(0, 3)
        refuses(0, -1)
        refuses(0, 16)
        refuses(0x200, 0)
        refuses(0x1fd, 4)
        refuses(.max, 8)
        refuses(0, 0, 1)
        refuses(0, 2, 0x10000)
        #expect(throws: AddressSpaceError.noSuchIOEventFD(region: "device", offset: 0)) {
            try region.removeIOEventFD(offset: 0, size: 4, event: event)
        }
        try region.addIOEventFD(offset: 0x1fc, size: 4, event: event)
        #expect(throws: AddressSpaceError.duplicateIOEventFD(region: "device", offset: 0x1fc)) {
            try region.addIOEventFD(offset: 0x1fc, size: 4, event: event)
        }
        let memory = try ram("ram", 4096)
        #expect(throws: AddressSpaceError.wrongKind("ram")) { try memory.addIOEventFD(offset: 0, size: 4, event: event) }
    }

    @Test func writes_withoutHypervisor_matchInSoftwareWhenAsked() throws {
        let any = try EventFD()
        let two = try EventFD()
        let wild = try EventFD()
        try region.addIOEventFD(offset: 0, size: 4, event: any)
        try region.addIOEventFD(offset: 8, size: 2, datamatch: 7, event: two)
        try region.addIOEventFD(offset: 16, size: 0, event: wild)

        space.write(at: 0x1000, size: 4, value: 1)
        #expect(any.drain() == 0)
        #expect(ops.writes.count == 1, "off by default: the device gets the write")

        space.matchesIOEventFDsInSoftware = true
        #expect(space.write(at: 0x1000, size: 4, value: 1))
        #expect(any.drain() == 1)
        #expect(space.write(at: 0x1008, size: 2, value: 0xffff_0007), "bytes above the size do not count")
        #expect(two.drain() == 1)
        #expect(space.write(at: 0x1010, size: 1, value: 9))
        #expect(space.write(at: 0x1010, size: 8, value: 9))
        #expect(wild.drain() == 2)
        #expect(ops.writes.count == 1)

        space.write(at: 0x1000, size: 2, value: 1)  // other size
        space.write(at: 0x1008, size: 2, value: 8)  // other value
        space.write(at: 0x1001, size: 4, value: 1)  // other address
        #expect(ops.writes.count == 4)
        #expect(any.drain() == 0 && two.drain() == 0)
    }
}
