import Glibc
import LinuxSys
import Synchronization
import Testing

@Suite struct SocketMessageTests {
    private struct Pair: ~Copyable {
        let near: OwnedFD
        let far: OwnedFD
        init() throws {
            var numbers: [Int32] = [-1, -1]
            let result = unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &numbers)
            try #require(result == 0)
            near = OwnedFD(adopting: numbers[0])
            far = OwnedFD(adopting: numbers[1])
        }
    }

    /// Sends `count` copies of a socket whose only other copies go with this call; what is returned sees a hang-up once all of them are closed.
    private func sendCopies(_ count: Int, through socket: borrowing OwnedFD) throws -> OwnedFD {
        let pair = try Pair()
        _ = try socket.send([1], descriptors: [Int32](repeating: pair.far.raw, count: count))
        return try pair.near.duplicate()
    }

    private func isHungUp(_ witness: borrowing OwnedFD) throws -> Bool { try witness.wait(for: .readable, nanoseconds: 0).contains(.hangup) }

    @Test func descriptors_arriveInOrderCloseOnExecAndUsable() throws {
        let pair = try Pair()
        let events = try [EventFD(), EventFD(), EventFD()]
        do {
            let result = try pair.near.send([1, 2, 3], descriptors: events.map(\.raw))
            #expect(result == 3)
        }
        var bytes = [UInt8](repeating: 0, count: 8)
        var list = DescriptorList()
        do {
            let result = try pair.far.receive(into: &bytes, descriptors: &list)
            #expect(result == 3)
        }
        #expect(Array(bytes.prefix(3)) == [1, 2, 3])
        let count = list.count
        #expect(count == 3)
        for (index, event) in events.enumerated() {
            guard let received = list.takeFirst() else { break }
            #expect(fcntl(received.raw, F_GETFD) & FD_CLOEXEC != 0)
            for _ in 0...index { event.signal() }
            var value = [UInt8](repeating: 0, count: 8)
            do {
                let result = try received.read(into: &value)
                #expect(result == 8)
            }
            #expect(value[0] == UInt8(index + 1))
        }
        let isEmpty = list.isEmpty
        #expect(isEmpty)
    }

    @Test func listThatNobodyEmpties_closesItsDescriptors() throws {
        let pair = try Pair()
        let witness = try sendCopies(3, through: pair.near)
        func receiveAndDrop() throws -> Bool {
            var bytes: [UInt8] = [0]
            var list = DescriptorList()
            _ = try pair.far.receive(into: &bytes, descriptors: &list)
            return try isHungUp(witness)
        }
        let early = try receiveAndDrop()
        #expect(!early)
        let late = try isHungUp(witness)
        #expect(late)
    }

    @Test func class7_moreDescriptorsThanWanted_areClosedAndTheCallFails() throws {
        let pair = try Pair()
        for (count, limit) in [(1, 0), (2, 1), (253, 252), (253, 1), (2, -1)] {
            let witness = try sendCopies(count, through: pair.near)
            var bytes: [UInt8] = [0]
            var list = DescriptorList()
            var caught: Errno?
            do { _ = try pair.far.receive(into: &bytes, descriptors: &list, limit: limit) } catch { caught = error }
            #expect(caught == Errno(EMFILE))
            let isEmpty = list.isEmpty
            #expect(isEmpty)
            let closed = try isHungUp(witness)
            #expect(closed)
        }
    }

    @Test func mostDescriptorsThatLinuxCarries_allArrive() throws {
        let pair = try Pair()
        let event = try EventFD()
        let many = [Int32](repeating: event.raw, count: OwnedFD.messageDescriptorLimit)
        _ = try pair.near.send([1], descriptors: many)
        var bytes: [UInt8] = [0]
        var list = DescriptorList()
        do {
            let result = try pair.far.receive(into: &bytes, descriptors: &list)
            #expect(result == 1)
        }
        let count = list.count
        #expect(count == many.count)
        #expect(throws: Errno.invalid) { _ = try pair.near.send([1], descriptors: many + [event.raw]) }
    }

    @Test func emptySocket_saysAgain() throws {
        let pair = try Pair()
        var bytes: [UInt8] = [0]
        var list = DescriptorList()
        var caught: Errno?
        do { _ = try pair.near.receive(into: &bytes, descriptors: &list) } catch { caught = error }
        #expect(caught == .again)
    }

    @Test func closedPeer_isTheEndAndBrokenPipe() throws {
        // The far end goes with the pair.
        func orphan() throws -> OwnedFD { try Pair().near.duplicate() }
        let near = try orphan()
        var bytes: [UInt8] = [0]
        var list = DescriptorList()
        let result = try near.receive(into: &bytes, descriptors: &list)
        #expect(result == 0)
        #expect(throws: Errno.brokenPipe) { _ = try near.send([1], descriptors: [0]) }
    }

    @Test func otherControlMessages_areSkipped() throws {
        // SCM_CREDENTIALS comes before SCM_RIGHTS when the receiver asks for it.
        let pair = try Pair()
        var one: Int32 = 1
        _ = unsafe setsockopt(pair.far.raw, SOL_SOCKET, SO_PASSCRED, &one, 4)
        let event = try EventFD()
        _ = try pair.near.send([7], descriptors: [event.raw])
        var bytes: [UInt8] = [0]
        var list = DescriptorList()
        do {
            let result = try pair.far.receive(into: &bytes, descriptors: &list)
            #expect(result == 1)
        }
        let count = list.count
        #expect(count == 1)
    }

    @Test func waiting_endsWithTheEventOrTheTime() throws {
        let pair = try Pair()
        let start = Clock.monotonicNanoseconds()
        do {
            let result = try pair.far.wait(for: .readable, nanoseconds: 20_000_000)
            #expect(result == [])
        }
        #expect(Clock.monotonicNanoseconds() - start >= 20_000_000)
        do {
            let result = try pair.far.wait(for: .writable, nanoseconds: 0)
            #expect(result == .writable)
        }
        _ = try pair.near.send([1])
        do {
            let result = try pair.far.wait(for: .readable, nanoseconds: .max)
            #expect(result == .readable)
        }
    }

    @Test func eventFDThatAPeerMadeBlocking_stillNeverWaits() throws {
        let event = try EventFD()
        _ = fcntl(event.raw, F_SETFL, fcntl(event.raw, F_GETFL) & ~O_NONBLOCK)
        #expect(event.drain() == 0)
        event.signal()
        #expect(event.drain() == 1)
        #expect(event.drain() == 0)
    }

    @Test func gate_isReadableWhileOneIsAndSilentOnceItIsRemoved() throws {
        let gate = try EventGate()
        let pair = try Pair()
        let event = try EventFD()
        try gate.add(pair.far.raw)
        try gate.add(event.raw)
        #expect(gate.next() == nil)
        event.signal()
        #expect(gate.next() == event.raw)
        _ = try pair.near.send([1])
        // Both in turn.
        #expect(Set([gate.next(), gate.next()]) == [pair.far.raw, event.raw])
        event.drain()
        #expect(gate.next() == pair.far.raw)
        gate.remove(pair.far.raw)
        #expect(gate.next() == nil)
        gate.remove(pair.far.raw)
        let loop = try EventLoop()
        let seen = EventFD.Counter()
        try loop.add(gate.raw, .readable) { _ in seen.add() }
        loop.runOnce(timeoutMilliseconds: 0)
        #expect(seen.value == 0)
        event.signal()
        loop.runOnce(timeoutMilliseconds: 0)
        loop.runOnce(timeoutMilliseconds: 0)
        #expect(seen.value >= 1)
        loop.remove(gate.raw)
    }
}

extension EventFD {
    /// Counts calls.
    fileprivate final class Counter: Sendable {
        private let count = Atomic<Int>(0)
        var value: Int { count.load(ordering: .relaxed) }
        func add() { count.wrappingAdd(1, ordering: .relaxed) }
    }
}
