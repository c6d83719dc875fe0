import AddressSpace
import LinuxSys
import Synchronization
import Testing

struct TransactionTests {
    let space = AddressSpace(name: "space", size: 1000)
    let listener = RecordingListener()

    init() throws { try space.addListener(listener) }

    @Test func transaction_manyChanges_tellsTheDifferenceOnce() throws {
        let old = try io("old", 10)
        try space.root.add(old, at: 0)
        try space.root.add(io("stays", 10), at: 500)
        let before = listener.rangeCallCount
        let fleeting = try io("fleeting", 10)
        try space.transaction { () throws(AddressSpaceError) in
            try space.root.remove(old)
            try space.root.add(fleeting, at: 100)
            try space.transaction { () throws(AddressSpaceError) in try space.root.add(io("new", 10), at: 200) }
            #expect(layout(space).count == 2, "nothing is shown before the outermost end")
            try space.root.remove(fleeting)
        }
        #expect(listener.rangeCallCount == before + 1)
        let last = listener.state.withLock { $0.rangeCalls.last }
        #expect(last?.removed.map(\.region.name) == ["old"])
        #expect(last?.added.map(\.region.name) == ["new"])
    }

    @Test func transaction_withoutNetChange_tellsNobody() throws {
        let region = try io("r", 10)
        try space.root.add(region, at: 0)
        let before = listener.rangeCallCount
        try space.transaction { () throws(AddressSpaceError) in
            try space.root.remove(region)
            try space.root.add(region, at: 0)
        }
        try space.root.add(Region.container(name: "empty", size: 10), at: 50)
        #expect(listener.rangeCallCount == before)
        #expect(listener.eventCallCount == 0)
    }

    @Test func body_thatThrows_isTakenBack() throws {
        let kept = try io("kept", 10)
        try space.root.add(kept, at: 0)
        let calls = listener.rangeCallCount
        let tried = try io("tried", 10)
        #expect(throws: AddressSpaceError.alreadyListening) {
            try space.transaction { () throws(AddressSpaceError) in
                try space.root.remove(kept)
                try space.root.add(tried, at: 100)
                throw .alreadyListening
            }
        }
        #expect(layout(space) == ["kept@0+10(0)"])
        #expect(listener.rangeCallCount == calls)
        try space.root.add(tried, at: 100)
        try space.root.remove(kept)
        #expect(layout(space) == ["tried@100+10(0)"])
    }

    @Test func innerTransaction_thatThrows_takesBackItsPartOnly() throws {
        try space.transaction { () throws(AddressSpaceError) in
            try space.root.add(io("outer", 10), at: 0)
            #expect(throws: AddressSpaceError.alreadyListening) {
                try space.transaction { () throws(AddressSpaceError) in
                    try space.root.add(io("inner", 10), at: 100)
                    throw .alreadyListening
                }
            }
        }
        #expect(layout(space) == ["outer@0+10(0)"])
    }

    @Test func listener_thatThrows_rollsBackTreeAndEarlierListeners() throws {
        let failing = RecordingListener()
        try space.addListener(failing)
        let kept = try io("kept", 10)
        try space.root.add(kept, at: 0)
        failing.state.withLock { $0.failsOnRanges = true }
        let new = try io("new", 10)
        #expect(throws: AddressSpaceError.listener("map", .noMemory)) {
            try space.transaction { () throws(AddressSpaceError) in
                try space.root.remove(kept)
                try space.root.add(new, at: 100)
            }
        }
        #expect(layout(space) == ["kept@0+10(0)"])
        #expect(space.read(at: 0, size: 1) == 0)
        #expect(space.read(at: 100, size: 1) == nil)
        #expect(listener.ranges == space.flatRanges())
        #expect(failing.ranges == space.flatRanges())
        failing.state.withLock { $0.failsOnRanges = false }
        try space.root.add(new, at: 100)
        #expect(failing.ranges == space.flatRanges())
        #expect(listener.complaints + failing.complaints == [])
    }

    @Test func eventListener_thatThrows_alsoTakesBackItsRanges() throws {
        listener.state.withLock { $0.failsOnEvents = true }
        let region = try io("r", 10)
        try region.addIOEventFD(offset: 0, size: 4, event: EventFD())
        #expect(throws: AddressSpaceError.self) { try space.root.add(region, at: 0) }
        #expect(listener.ranges == [])
        #expect(space.flatIOEventFDs() == [])
        #expect(listener.complaints == [])
    }

    @Test func transaction_overTwoSpaces_isAllOrNothing() throws {
        let ports = AddressSpace(name: "ports", size: 65536)
        let failing = RecordingListener()
        try ports.addListener(failing)
        failing.state.withLock { $0.failsOnRanges = true }
        #expect(throws: AddressSpaceError.self) {
            try space.transaction { () throws(AddressSpaceError) in
                try space.root.add(io("bar", 10), at: 0)
                try ports.root.add(io("port", 10), at: 0)
            }
        }
        #expect(layout(space) == [] && layout(ports) == [])
        #expect(listener.ranges == [])
    }

    @Test func sharedRegion_changesInEverySpaceAtOnce() throws {
        let bus = try Region.container(name: "bus", size: 100)
        try space.root.add(bus, at: 0)
        let dma = AddressSpace(name: "dma", size: 100)
        try dma.root.add(.alias(name: "window", of: bus, size: 100), at: 0)
        try bus.add(io("device", 10), at: 7)
        #expect(layout(space) == ["device@7+10(0)"])
        #expect(layout(dma) == ["device@7+10(0)"])
    }

    @Test func listener_changingTheTree_isRefused() throws {
        let held = HeldError()
        listener.state.withLock { [space] state in
            state.action = {
                do throws(AddressSpaceError) { try space.root.add(io("x", 1), at: 900) } catch { held.set(error) }
            }
        }
        try space.root.add(io("r", 10), at: 0)
        #expect(held.value == .changeDuringCommit)
        #expect(layout(space) == ["r@0+10(0)"])
    }

    @Test func newListener_getsWhatIsThere_andLosesItWhenRemoved() throws {
        let region = try io("r", 10)
        try region.addIOEventFD(offset: 0, size: 2, event: EventFD())
        try space.root.add(region, at: 5)
        let late = RecordingListener()
        try space.addListener(late)
        #expect(late.ranges == space.flatRanges())
        #expect(late.events == space.flatIOEventFDs() && late.events.count == 1)
        #expect(throws: AddressSpaceError.alreadyListening) { try space.addListener(late) }
        try space.removeListener(late)
        #expect(late.ranges == [] && late.events == [])
        try space.root.remove(region)
        #expect(late.rangeCallCount == 2)
    }

    @Test func newListener_thatThrows_isNotRegistered() throws {
        try space.root.add(io("r", 10), at: 5)
        let late = RecordingListener()
        late.state.withLock { $0.failsOnRanges = true }
        #expect(throws: AddressSpaceError.self) { try space.addListener(late) }
        late.state.withLock { $0.failsOnRanges = false }
        try space.root.add(io("s", 10), at: 50)
        #expect(late.rangeCallCount == 0)
    }
}

final class HeldError: Sendable {
    private let held = Mutex<AddressSpaceError?>(nil)
    func set(_ error: AddressSpaceError) { held.withLock { $0 = error } }
    var value: AddressSpaceError? { held.withLock { $0 } }
}
