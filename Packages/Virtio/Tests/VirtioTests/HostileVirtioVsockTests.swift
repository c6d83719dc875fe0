import AddressSpace
import Glibc
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Guests and programs of the host that mean harm. Numbers are bug classes, as in `HostileQueueTests`.
@Suite struct HostileVirtioVsockTests {
    private func alive(_ vsock: VsockGuest) throws {
        _ = try vsock.received()
        let (socket, port) = try vsock.connectFromHost(port: 4242)
        vsock.write(socket, "ping")
        #expect(try vsock.one().data == Array("ping".utf8))
        try vsock.send(.data, guest: 4242, host: port, Array("pong".utf8))
        #expect(vsock.text(socket) == "pong")
        try vsock.send(.reset, guest: 4242, host: port)
        vsock.close(socket)
    }

    // MARK: Guests

    @Test func class3_CVE_2019_18960_lengthBeyondTheChain_endsTheConnection() throws {
        for length in [5, 1000, 64 << 10, 1 << 31, .max] as [UInt32] {
            let vsock = try VsockGuest()
            try vsock.start()
            let (socket, port) = try vsock.connectFromHost()
            try vsock.send(vsock.header(.data, guest: 52, host: port, length: length), [1, 2, 3, 4])
            let packet = try vsock.one()
            #expect(packet.operation == .reset && packet.header.sourcePort == port)
            // Nothing of it, and nothing from behind it.
            #expect(vsock.read(socket) == nil)
            #expect(vsock.dropped == 1)
            try alive(vsock)
        }
    }

    @Test func class3_headerThatIsNotThere_isDropped() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        for count in [0, 1, 43] {
            try vsock.sendRaw([UInt8](repeating: 0xff, count: count))
        }
        // Only room to write where there should be something to read.
        try vsock.guest.offer(1, head: 0, [.writable(QueueGuest.data + (2 << 20), 4096)])
        vsock.kick(1)
        #expect(try vsock.guest.newUsed(1).map(\.length) == [0, 0, 0, 0])
        #expect(vsock.dropped == 4)
        #expect(try vsock.received().isEmpty)
        try alive(vsock)
    }

    @Test func addresses_ofOthers_areDroppedOrReset() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let listener = try vsock.listen(port: 52)
        // Somebody else's name: no answer goes to anybody.
        for cid in [0, 1, 2, 4, 3 | 1 << 32, .max] as [UInt64] {
            var header = vsock.header(.request, guest: 1000, host: 52)
            header.sourceCID = cid
            try vsock.send(header)
        }
        #expect(try vsock.received().isEmpty)
        #expect(vsock.dropped == 6)
        // Somebody who is not there.
        for cid in [0, 1, 3, 4, 2 | 1 << 32, .max] as [UInt64] {
            var header = vsock.header(.request, guest: 1000, host: 52)
            header.destinationCID = cid
            try vsock.send(header)
            let packet = try vsock.one()
            #expect(packet.operation == .reset && packet.header.sourceCID == cid && packet.header.destinationPort == 1000)
        }
        #expect(accept(listener, nil, nil) == -1)
        try alive(vsock)
    }

    @Test func typesThatWereNotOffered_areReset() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        _ = try vsock.listen(port: 52)
        for type in [0, 2, 3, 0xffff] as [UInt16] {
            var header = vsock.header(.request, guest: 1000, host: 52)
            header.type = type
            try vsock.send(header)
            let packet = try vsock.one()
            #expect(packet.operation == .reset && packet.header.type == type)
            // But no answer to a reset: it would never end.
            header.operation = VsockOperation.reset.rawValue
            try vsock.send(header)
            #expect(try vsock.received().isEmpty)
        }
        #expect(vsock.connectionCount == 0)
    }

    @Test func operationsWithoutAConnection_areReset() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        for operation in [0, 2, 4, 5, 6, 7, 8, 0xffff] as [UInt16] {
            var header = vsock.header(.data, guest: 1000, host: 52)
            header.operation = operation
            try vsock.send(header)
            let packet = try vsock.one()
            #expect(packet.operation == .reset && packet.header.sourcePort == 52 && packet.header.destinationPort == 1000)
        }
        try vsock.send(.reset, guest: 1000, host: 52)
        #expect(try vsock.received().isEmpty)
        try alive(vsock)
    }

    @Test func operationsOutOfPlace_endTheConnection() throws {
        for operation in [0, 1, 2, 8, 0xffff] as [UInt16] {
            let vsock = try VsockGuest()
            try vsock.start()
            let (socket, port) = try vsock.connectFromHost()
            var header = vsock.header(.data, guest: 52, host: port)
            header.operation = operation
            try vsock.send(header)
            #expect(try vsock.received().map(\.operation) == [.reset])
            #expect(vsock.read(socket) == nil)
            #expect(vsock.connectionCount == 0)
        }
        // Before it has accepted.
        for operation in [0, 1, 4, 5, 6, 7, 8] as [UInt16] {
            let vsock = try VsockGuest()
            try vsock.start()
            let socket = try vsock.program("CONNECT 52\n")
            var header = vsock.header(.data, guest: 52, host: try vsock.one().header.sourcePort)
            header.operation = operation
            try vsock.send(header)
            #expect(try vsock.received().map(\.operation) == [.reset])
            #expect(vsock.read(socket) == nil)
        }
    }

    @Test func answerBeforeTheQuestion_isOutOfPlace() throws {
        let vsock = try VsockGuest()
        vsock.recycles = false
        try vsock.start(buffers: 0)
        let socket = try vsock.program("CONNECT 52\n")
        vsock.serve()
        // The guest guesses the host's port.
        try vsock.send(.response, guest: 52, host: VsockGuest.first)
        #expect(vsock.read(socket) == nil)
        #expect(vsock.connectionCount == 0)
        try vsock.give(4)
        #expect(try vsock.received().isEmpty)
    }

    @Test func dataBeyondTheCredit_andAfterTheEnd_endsTheConnection() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let listener = try vsock.listen(port: 52)
        let socket = try vsock.connectFromGuest(host: 52, listener: listener)
        // 64 KiB for each time that the host took as much: a driver that does not look at the answers.
        var isOver = false
        for _ in 0..<200 where !isOver {
            try vsock.send(.data, guest: 1000, host: 52, [UInt8](repeating: 1, count: 10_000))
            isOver = try vsock.received().contains { $0.operation == .reset }
        }
        #expect(isOver)
        #expect(vsock.connectionCount == 0)
        vsock.close(socket)

        let (late, port) = try vsock.connectFromHost()
        try vsock.send(.shutdown, guest: 52, host: port, flags: 2)
        try vsock.send(.data, guest: 52, host: port, [1])
        #expect(try vsock.one().operation == .reset)
        #expect(vsock.read(late) == nil)
    }

    @Test func creditOutOfThinAir_isNoCredit() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost(credit: 0)
        vsock.write(socket, [UInt8](repeating: 1, count: 1000))
        #expect(try vsock.received().map(\.operation) == [.creditRequest])
        // More taken out than was ever put in.
        for forwarded in [1, 1000, 1 << 31] as [UInt32] {
            try vsock.send(.creditUpdate, guest: 52, host: port, credit: 1000, forwarded: forwarded)
            #expect(try vsock.received().flatMap(\.data).isEmpty)
        }
        try vsock.send(.creditUpdate, guest: 52, host: port, credit: .max)
        #expect(try vsock.received().flatMap(\.data).count == 1000)
        // A buffer that shrinks below what is in it.
        vsock.write(socket, [2])
        try vsock.send(.creditUpdate, guest: 52, host: port, credit: 10)
        _ = try vsock.received()
        try vsock.send(.shutdown, guest: 52, host: port, credit: 10, forwarded: 1000)
        #expect(try vsock.received().flatMap(\.data).count <= 1)
    }

    @Test func class9_floodWithoutBuffers_costsNothingAndTheGuestWaitsForItself() throws {
        let vsock = try VsockGuest()
        vsock.recycles = false
        try vsock.start(buffers: 0)
        var taken = 0
        var sent = 0
        for number in 0..<2000 as Range<UInt32> {
            try vsock.send(vsock.header(.data, guest: number, host: 52), kicks: number % 8 == 7)
            sent += 1
            taken += try vsock.guest.newUsed(1).count
            // A queue holds 16.
            if Int(number) - taken >= 8 { break }
        }
        #expect(taken <= VsockResets.capacity)
        #expect(vsock.device { $0.resets.count } == VsockResets.capacity)
        #expect(vsock.connectionCount == 0)
        // Its own buffers free it again: every packet has its answer.
        vsock.recycles = true
        try vsock.give(8)
        var answers = 0
        for _ in 0..<100 { answers += try vsock.received().count }
        #expect(answers == sent)
        #expect(vsock.device { $0.session?.isHeld } == false)
        try alive(vsock)
    }

    @Test func class9_floodOfRequests_isBoundedByTheNumberOfConnections() throws {
        let vsock = try VsockGuest(connections: 8)
        try vsock.start()
        _ = try vsock.listen(port: 52, backlog: 1000)
        var operations: [VsockOperation?] = []
        for port in 0..<100 as Range<UInt32> {
            try vsock.send(.request, guest: port, host: 52)
            operations += try vsock.received().map(\.operation)
        }
        #expect(operations.filter { $0 == .response }.count == 8)
        #expect(operations.filter { $0 == .reset }.count == 92)
        #expect(vsock.connectionCount == 8)
        // A program of the host is not kept waiting either.
        let late = try vsock.program("CONNECT 9\n")
        #expect(try vsock.received().isEmpty)
        #expect(vsock.read(late) == nil)
        for port in 0..<8 as Range<UInt32> { try vsock.send(.reset, guest: port, host: 52) }
        #expect(vsock.connectionCount == 0)
        try alive(vsock)
    }

    @Test func class9_listenerThatIsFull_isAReset() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        _ = try vsock.listen(port: 52, backlog: 1)
        var operations: [VsockOperation?] = []
        for port in 0..<20 as Range<UInt32> {
            try vsock.send(.request, guest: port, host: 52)
            operations += try vsock.received().map(\.operation)
        }
        #expect(operations.count == 20 && operations.last == .reset && operations.first == .response)
        try alive(vsock)
    }

    @Test func requestTwice_endsTheFirst() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let listener = try vsock.listen(port: 52)
        let socket = try vsock.connectFromGuest(host: 52, listener: listener)
        try vsock.send(.request, guest: 1000, host: 52)
        #expect(try vsock.one().operation == .reset)
        #expect(vsock.read(socket) == nil)
        _ = try vsock.connectFromGuest(host: 52, listener: listener)
    }

    @Test func resetThatTheGuestDoesNotTake_isGivenUp() throws {
        let vsock = try VsockGuest(patience: 60_000_000)
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost()
        vsock.recycles = false
        _ = try vsock.guest.newUsed(0)
        // All buffers are used up.
        vsock.write(socket, [UInt8](repeating: 1, count: 100_000))
        vsock.serve()
        try vsock.send(.request, guest: 52, host: port)
        #expect(vsock.connectionCount == 1)
        #expect(vsock.read(socket) == nil)
        let end = Clock.monotonicNanoseconds() + 10_000_000_000
        while vsock.connectionCount > 0, Clock.monotonicNanoseconds() < end {
            vsock.serve()
            Clock.sleep(nanoseconds: 2_000_000)
        }
        #expect(vsock.connectionCount == 0)
        // What the guest says of it now has its answer.
        try vsock.send(.creditUpdate, guest: 52, host: port)
        vsock.recycles = true
        try vsock.give(16)
        #expect(try vsock.received().last?.operation == .reset)
    }

    @Test func queueThatIsRuined_stopsBothDirections() throws {
        for queue in 0..<2 {
            let vsock = try VsockGuest()
            try vsock.start()
            let (socket, _) = try vsock.connectFromHost()
            try vsock.guest.memory.storeRelease16(0x7000, at: vsock.guest.rings[queue].available + 2)
            vsock.write(socket, [UInt8](repeating: 1, count: 60_000))
            vsock.kick(queue)
            #expect(vsock.guest.status.contains(.needsReset))
            let used = try vsock.guest.bytes(vsock.guest.rings[0].used, 256)
            vsock.write(socket, "more")
            vsock.serve()
            #expect(try vsock.guest.bytes(vsock.guest.rings[0].used, 256) == used)
            try vsock.start()
            #expect(vsock.read(socket) == nil)
            try alive(vsock)
        }
    }

    @Test func class19_eventQueue_isNotEvenLookedAt() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        try vsock.guest.offer(2, head: 0, [Buffer(address: .max, length: .max, flags: 3, next: 0)])
        try vsock.guest.memory.store(UInt16(0x8000), at: vsock.guest.rings[2].available + 2)
        for _ in 0..<100 { vsock.kick(2) }
        #expect(vsock.guest.status.isLive)
        #expect(try vsock.guest.newUsed(2) == [])
        try alive(vsock)
    }

    @Test func queuesThatAreMissing_costTheGuestItsSocketsOnly() throws {
        for missing in [[0], [1], [0, 1], [0, 1, 2]] as [Set<Int>] {
            let vsock = try VsockGuest(patience: 50_000_000)
            try vsock.guest.start(leavingOut: missing)
            let socket = try vsock.program("CONNECT 52\n")
            var isOver = false
            let end = Clock.monotonicNanoseconds() + 10_000_000_000
            while !isOver, Clock.monotonicNanoseconds() < end {
                for queue in 0..<3 { vsock.kick(queue) }
                isOver = vsock.read(socket) == nil
                Clock.sleep(nanoseconds: 2_000_000)
            }
            #expect(isOver)
            #expect(vsock.guest.status.isLive)
        }
    }

    // MARK: Programs of the host

    @Test func linesThatAreNone_endTheirConnection() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        for line in ["\n", "GET / HTTP/1.1\r\n", "CONNECT\n", "CONNECT 4294967296\n", String(repeating: "A", count: 1 << 16), "\0\0\0\u{1}\n"] {
            let socket = try vsock.program(line)
            #expect(try vsock.received().isEmpty)
            #expect(vsock.read(socket) == nil)
            vsock.close(socket)
        }
        #expect(vsock.connectionCount == 0)
        try alive(vsock)
    }

    @Test func lineThatDoesNotEnd_hasItsTime() throws {
        let vsock = try VsockGuest(connections: 4, patience: 100_000_000)
        try vsock.start()
        let sockets = try (0..<4).map { try vsock.program(["", "C", "CONNECT 5", "CONNECT"][$0]) }
        #expect(try vsock.received().isEmpty)
        #expect(vsock.connectionCount == 4)
        var isOver = false
        let end = Clock.monotonicNanoseconds() + 10_000_000_000
        while !isOver, Clock.monotonicNanoseconds() < end {
            // More of it, again and again, does not make the time longer.
            vsock.write(sockets[0], "")
            #expect(try vsock.received().isEmpty)
            isOver = sockets.allSatisfy { vsock.read($0) == nil }
            Clock.sleep(nanoseconds: 2_000_000)
        }
        #expect(isOver && vsock.connectionCount == 0)
        try alive(vsock)
    }

    @Test func guestThatDoesNotAnswer_letsTheProgramGoInTime() throws {
        for isDriving in [true, false] {
            let vsock = try VsockGuest(patience: 100_000_000)
            if isDriving { try vsock.start() }
            let socket = try vsock.program("CONNECT 52\n")
            vsock.serve()
            #expect(vsock.read(socket) == [])
            let end = Clock.monotonicNanoseconds() + 10_000_000_000
            while vsock.read(socket) != nil, Clock.monotonicNanoseconds() < end {
                vsock.serve()
                Clock.sleep(nanoseconds: 2_000_000)
            }
            #expect(vsock.read(socket) == nil)
            if isDriving { #expect(try vsock.received().map(\.operation) == [.request, .reset]) }
            #expect(vsock.connectionCount == 0)
        }
    }

    @Test func thousandsOfPrograms_thatComeAndGo_leaveNothing() throws {
        let vsock = try VsockGuest(connections: 32)
        try vsock.start()
        var random = SeededGenerator(seed: 11)
        for round in 0..<3000 {
            let line = ["", "CONNECT 9", "CONNECT 9\n", "CONNECT 9\nabc", "x\n"][Int(random.next() % 5)]
            let socket = try vsock.program(line)
            if round % 7 == 0 { vsock.serve() }
            if random.next() % 2 == 0 { shutdown(socket, Int32(SHUT_WR)) }
            vsock.close(socket)
            if round % 64 == 63 { _ = try vsock.received() }
        }
        _ = try vsock.received()
        #expect(vsock.connectionCount == 0)
        try alive(vsock)
    }

    @Test func programThatLeavesBeforeTheAnswer_isNotMissed() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let socket = try vsock.program("CONNECT 52\n")
        let request = try vsock.one()
        vsock.close(socket)
        #expect(try vsock.one().operation == .reset)
        // The answer that was under way.
        try vsock.send(.response, guest: 52, host: request.header.sourcePort)
        #expect(try vsock.one().operation == .reset)
        #expect(vsock.connectionCount == 0)
    }

    @Test func programThatIsGone_doesNotTakeWhatTheGuestSends() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        vsock.recycles = false
        let (socket, port) = try vsock.connectFromHost()
        // The guest has not heard of it yet.
        vsock.close(socket)
        for _ in 0..<40 {
            try vsock.send(.data, guest: 52, host: port, [UInt8](repeating: 1, count: 10_000))
            // Not a word about credit would be needed, and none too many is said.
            #expect(try vsock.received().allSatisfy { $0.operation == .shutdown || $0.operation == .creditUpdate })
            try vsock.give(1)
        }
        #expect(vsock.buffered == nil)
    }

    @Test func descriptorsThatRunOut_stopNobodyForEver() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        // As if the process could open no more.
        let rest = vsock.device { device in
            device.restListener()
            return device.isListening
        }
        #expect(rest == false)
        let socket = try vsock.program("CONNECT 52\n")
        #expect(try vsock.wait { !$0.isEmpty }.map(\.operation) == [.request])
        #expect(vsock.read(socket) == [])
    }
}
