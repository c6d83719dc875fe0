import AddressSpace
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Packets and rings that make no sense, and too many of them. Numbers are the bug classes of a virtual machine monitor's history that a test stands for.
@Suite struct HostileNetTests {
    private func started(_ kind: Wire.Kind = .tap, without: UInt64 = 0) throws -> (NetGuest, Wire) {
        let wire = try Wire(kind)
        let guest = try NetGuest([wire])
        #expect(try guest.start(without: without))
        return (guest, wire)
    }

    /// Both directions work.
    private func expectAlive(_ guest: NetGuest, _ wire: Wire, sourceLocation: SourceLocation = #_sourceLocation) throws {
        while wire.receive() != nil {}
        #expect(try guest.transmit(Frame.make(77), on: wire)?.count == 89, sourceLocation: sourceLocation)
        try guest.post(64, size: 2048)
        guest.run()
        _ = try guest.newUsed(0)
        wire.send(Frame.make(99, seed: 5))
        guest.run()
        let used = try guest.newUsed(0)
        #expect(used.count == 1, sourceLocation: sourceLocation)
        #expect(used.first?.length == 111, sourceLocation: sourceLocation)
    }

    /// The device has asked for a reset, told the driver, leaves that ring alone, and works again after the reset.
    private func expectReset(_ guest: NetGuest, _ wire: Wire, queue: Int, sourceLocation: SourceLocation = #_sourceLocation) throws {
        guest.run()
        #expect(guest.status.contains(.needsReset), sourceLocation: sourceLocation)
        #expect(guest.read(.interruptStatus) & VirtioInterrupt.configurationChange != 0, sourceLocation: sourceLocation)
        let before = try guest.bytes(guest.usedPlace(queue), 0x900)
        wire.send(Frame.make())
        guest.notify(queue)
        guest.run()
        #expect(try guest.bytes(guest.usedPlace(queue), 0x900) == before, sourceLocation: sourceLocation)
        #expect(try guest.start(), sourceLocation: sourceLocation)
        try expectAlive(guest, wire, sourceLocation: sourceLocation)
    }

    // MARK: 2, 20. Queue numbers (CVE-2011-2512)

    @Test(arguments: Wire.Kind.allCases) func class20_notifyOfAQueueThatIsNot_isIgnored(kind: Wire.Kind) throws {
        let (guest, wire) = try started(kind)
        let before = guest.transport.statistics.ignoredAccesses
        for index in [3, 4, 33, 0xffff, 0x10000, 0x8000_0000, .max] as [UInt32] { guest.write(.queueNotify, index) }
        #expect(guest.transport.statistics.ignoredAccesses == before + 7)
        // One that exists and was not set up, and one that is not the device's.
        try guest.start(queues: [0, 1])
        for index in [-1, 0, 1, 2, 3, 100] { #expect(guest.device { $0.queueNotified(index) } == .idle) }
        try expectAlive(guest, wire)
    }

    @Test(arguments: [0, 4, 5, 0x7fff, 0x8000, 0xffff] as [UInt16]) func class2_queuePairsOutOfRange_areRefused(count: UInt16) throws {
        let wires = try [Wire(), Wire(), Wire()]
        let guest = try NetGuest(wires, pairs: 3, multiqueue: true)
        try guest.start()
        #expect(try guest.control([4, 0, 2, 0]) == 0)
        #expect(try guest.control([4, 0, UInt8(count & 0xff), UInt8(count >> 8)]) == 1)
        #expect(guest.device { $0.activePairs } == 2)
        try expectAlive(guest, wires[0])
    }

    @Test func class2_moreQueuesThanTheTapHas_areServedAsUnplugged() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire], pairs: 4, multiqueue: true)
        try guest.start()
        #expect(try guest.control([4, 0, 4, 0]) == 0)
        try guest.add(7, [.readable(NetGuest.data, 100)])
        guest.kick(7)
        #expect(try guest.newUsed(7) == [UsedEntry(id: 0, length: 0)])
        try expectAlive(guest, wire)
    }

    @Test(arguments: Wire.Kind.allCases) func class14_queuesThatAreNotReady_areNeverTouched(kind: Wire.Kind) throws {
        let wire = try Wire(kind)
        let guest = try NetGuest([wire])
        try guest.start(queues: [2])
        try guest.add(0, [.writable(NetGuest.data, 2048)])
        try guest.add(1, [.readable(NetGuest.data, 100)])
        wire.send(Frame.make())
        guest.notify(0)
        guest.notify(1)
        guest.run()
        #expect(try guest.newUsed(0) == [])
        #expect(try guest.newUsed(1) == [])
        // One alone works.
        try guest.start(queues: [0, 2])
        try guest.post(4)
        wire.send(Frame.make())
        guest.run()
        #expect(try guest.newUsed(0).count == 2)
        try guest.start(queues: [1])
        #expect(try guest.transmit(Frame.make(), on: wire) != nil)
    }

    @Test(arguments: Wire.Kind.allCases) func class14_queueTakenBack_isLeftAlone(kind: Wire.Kind) throws {
        let (guest, wire) = try started(kind)
        try guest.post(8)
        guest.write(.queueSelect, 0)
        guest.write(.queueReady, 0)
        wire.send(Frame.make())
        guest.kick(0)
        #expect(try guest.newUsed(0) == [])
        #expect(try guest.transmit(Frame.make(), on: wire) != nil)
        guest.write(.queueSelect, 1)
        guest.write(.queueReady, 0)
        #expect(try guest.transmit(Frame.make(), on: wire) == nil)
    }

    // MARK: 3, 7, 10. Transmitted packets

    @Test(arguments: Wire.Kind.allCases) func class10_transmittedChainsThatAreNoPackets_areGivenBackAndCounted(kind: Wire.Kind) throws {
        let (guest, wire) = try started(kind)
        let data = NetGuest.data
        let bad: [[Buffer]] = [
            [.readable(data, 0)],
            [.readable(data, 1)],
            [.readable(data, 11)],
            [.readable(data, 12)],
            [.readable(data, 25)],
            [.readable(data, 12), .readable(data, 13)],
            [.readable(data, 0), .readable(data, 0), .readable(data, 12), .readable(data, 0)],
            [.writable(data, 2048)],
            [.readable(data, 12), .writable(data, 2048)],
            [.readable(data, 65566)],
            [.readable(data, 12), .readable(data, 65554)],
            [.readable(data, 1 << 20)],
            (0..<256).map { _ in .readable(0, 1 << 20) },
        ]
        for (index, buffers) in bad.enumerated() {
            try guest.add(1, buffers)
            guest.kick(1)
            #expect(try guest.newUsed(1) == [UsedEntry(id: 0, length: 0)])
            #expect(wire.receive() == nil)
            #expect(guest.transport.statistics.droppedRequests == UInt64(index + 1))
        }
        try expectAlive(guest, wire)
    }

    @Test(arguments: Wire.Kind.allCases) func class10_headerInAnyPiecesWithEmptyBuffersBetween_isAHeader(kind: Wire.Kind) throws {
        let (guest, wire) = try started(kind)
        let packet = [UInt8](repeating: 0, count: 12) + Frame.make(60)
        try guest.memory.write(at: NetGuest.data, bytes: packet)
        var pieces: [Buffer] = []
        for offset in 0..<12 { pieces += [.readable(NetGuest.data + UInt64(offset), 1), .readable(1 << 50, 0)] }
        pieces.append(.readable(NetGuest.data + 12, 60))
        try guest.add(1, pieces + [.writable(NetGuest.data, 5)])
        guest.kick(1)
        #expect(wire.receive() == packet)
    }

    @Test(arguments: Wire.Kind.allCases) func class10_kindsOfPacketsThatWereNotOffered_areDropped(kind: Wire.Kind) throws {
        let (guest, wire) = try started(kind)
        // UDP fragmentation without UFO, UDP_L4, ECN, and what nobody knows.
        for kind in [3, 5, 0x81, 0x84, 2, 6, 0x7f, 0x80, 0xff] as [UInt8] {
            #expect(try guest.transmit(Frame.make(), header: [1, kind] + [UInt8](repeating: 0, count: 10), on: wire) == nil)
        }
        try expectAlive(guest, wire)
    }

    @Test(arguments: Wire.Kind.allCases) func class3_buffersOutsideRAM_needReset(kind: Wire.Kind) throws {
        let bad: [(UInt64, UInt32)] = [
            (NetGuest.ramSize, 100), (NetGuest.ramSize - 99, 100), (1 << 39, 100), (1 << 40, 100), (.max, 1), (.max - 99, 100), (.max - 99, .max),
            (NetGuest.data, .max),
        ]
        for (address, length) in bad {
            let (guest, wire) = try started(kind)
            try guest.add(1, [Buffer(address: address, length: length)])
            guest.kick(1)
            #expect(wire.receive() == nil)
            try expectReset(guest, wire, queue: 1)
            try guest.start()
            try guest.add(0, [Buffer(address: address, length: length, flags: Descriptor.write)])
            guest.kick(0)
            try expectReset(guest, wire, queue: 0)
        }
    }

    // MARK: 18. MMIO targets (CVE-2021-3416)

    @Test(arguments: Wire.Kind.allCases) func class18_buffersAndRingsInRegisters_needReset(kind: Wire.Kind) throws {
        let registers = CountingOps()
        let wire = try Wire(kind)
        for queue in 0...1 {
            let guest = try NetGuest([wire])
            try guest.space.root.add(try Region.io(name: "registers", size: 0x10000, ops: registers), at: 0xd000_0000)
            try guest.start()
            try guest.add(queue, [Buffer(address: 0xd000_0000, length: 0x1000, flags: queue == 0 ? Descriptor.write : 0)])
            wire.send(Frame.make())
            guest.kick(queue)
            try expectReset(guest, wire, queue: queue)
            // Across the border of RAM and registers, and by way of a table that lies there.
            try guest.start()
            try guest.add(queue, [Buffer(address: 0xd000_0000, length: 32, flags: Descriptor.indirect)])
            guest.kick(queue)
            try expectReset(guest, wire, queue: queue)
        }
        #expect(registers.count.load(ordering: .relaxed) == 0)
    }

    // MARK: 19. Chains (CVE-2016-5403)

    @Test(arguments: 0...2, Wire.Kind.allCases) func class19_loopsAndJumps_needReset(queue: Int, kind: Wire.Kind) throws {
        let flags = queue == 0 ? Descriptor.write : 0
        func expectFault(_ prepare: (NetGuest) throws -> Void) throws {
            let (guest, wire) = try started(kind)
            try prepare(guest)
            guest.kick(queue)
            try expectReset(guest, wire, queue: queue)
        }
        try expectFault { try $0.add(queue, [Buffer(address: NetGuest.data, length: 16, flags: flags, next: 0)]) }
        try expectFault { guest in
            try guest.writeTable([Buffer(address: NetGuest.data, length: 16, flags: flags, next: 0)], at: NetGuest.table)
            try guest.add(queue, [Buffer(address: NetGuest.table, length: 16, flags: Descriptor.indirect)])
        }
        try expectFault { guest in
            try guest.writeTable([Buffer(address: NetGuest.table, length: 16, flags: Descriptor.indirect)], at: NetGuest.table)
            try guest.add(queue, [Buffer(address: NetGuest.table, length: 16, flags: Descriptor.indirect)])
        }
        try expectFault { try $0.add(queue, [Buffer(address: NetGuest.table, length: 17, flags: Descriptor.indirect)]) }
        try expectFault { try $0.offer(queue, head: 256) }
        try expectFault { try $0.offer(queue, head: 65535) }
        try expectFault { try $0.memory.storeRelease16(300, at: $0.availablePlace(queue) + 2) }
        try expectFault { try $0.memory.storeRelease16(65535, at: $0.availablePlace(queue) + 2) }
        try expectFault { try $0.add(queue, [.writable(NetGuest.data, 16), .readable(NetGuest.data, 16)]) }
    }

    @Test func class19_faultWhileBuffersAreTakenAhead_needsReset() throws {
        let (guest, wire) = try started()
        for index in 0..<20 { try guest.add(0, [.writable(guest.receiveBuffer(index, 2048), 2048)], head: UInt16(index)) }
        try guest.offer(0, head: 999)
        wire.send(Frame.make())
        guest.kick(0)
        try expectReset(guest, wire, queue: 0)
    }

    // MARK: 10, 17. Received packets (CVE-2021-3748)

    @Test(arguments: Wire.Kind.allCases) func class10_receiveBuffersThatHoldNoHeader_areGivenBackAndCounted(kind: Wire.Kind) throws {
        let (guest, wire) = try started(kind)
        let bad: [[Buffer]] = [
            [.writable(NetGuest.data, 0)], [.writable(NetGuest.data, 1)], [.writable(NetGuest.data, 11)], [.readable(NetGuest.data, 2048)],
            [.readable(NetGuest.data, 2048), .writable(NetGuest.data, 11)], [.writable(NetGuest.data, 5), .writable(NetGuest.data, 6)],
        ]
        for (index, buffers) in bad.enumerated() {
            try guest.add(0, buffers, head: 7)
            guest.kick(0)
            #expect(try guest.newUsed(0) == [UsedEntry(id: 7, length: 0)])
            #expect(guest.transport.statistics.droppedRequests == UInt64(index + 1))
        }
        try expectAlive(guest, wire)
    }

    @Test(arguments: Wire.Kind.allCases) func class10_packetThatIsTooLargeForItsBuffer_isDroppedWithoutMerging(kind: Wire.Kind) throws {
        let (guest, wire) = try started(kind, without: NetFeature.mergeableBuffers)
        try guest.post(2, size: 500)
        for count in [489, 1514, 65553] { wire.send(Frame.make(count)) }
        wire.send(Frame.make(488, seed: 3))
        guest.run()
        let used = try guest.newUsed(0)
        #expect(used == [UsedEntry(id: 0, length: 500)])
        #expect(try guest.packet(used, size: 500).dropFirst(12) == Frame.make(488, seed: 3)[...])
        #expect(guest.device { $0.pairs[0].receiver.droppedPackets.load(ordering: .relaxed) } == 3)
    }

    @Test(arguments: Wire.Kind.allCases) func class10_packetLargerThanAllBuffersOfARing_isDroppedAtOnce(kind: Wire.Kind) throws {
        let wire = try Wire(kind)
        let guest = try NetGuest([wire])
        try guest.start(ringSize: 4)
        try guest.post(4, size: 500)
        wire.send(Frame.make(1989))
        wire.send(Frame.make(1988, seed: 1))
        guest.run()
        let used = try guest.newUsed(0)
        #expect(try guest.packet(used, size: 500) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0] + Frame.make(1988, seed: 1))
    }

    @Test(arguments: Wire.Kind.allCases) func class10_buffersInMorePiecesThanTheKernelTakes_holdNoLargePackets(kind: Wire.Kind) throws {
        let wire = try Wire(kind)
        let guest = try NetGuest([wire], queueSize: 2048)
        try guest.start()
        // 2000 pieces of 13 bytes.
        let table: UInt64 = 0x60_0000
        try guest.writeTable((0..<2000).map { .writable(NetGuest.data + UInt64($0) * 13, 13) }, at: table)
        try guest.add(0, [Buffer(address: table, length: 2000 * 16, flags: Descriptor.indirect)])
        wire.send(Frame.make(20000))
        wire.send(Frame.make(5000, seed: 1))
        guest.kick(0)
        #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 5012)])
        #expect(try Array(guest.bytes(NetGuest.data, 5012)[12...]) == Frame.make(5000, seed: 1))
        // The same to send: what does not fit is no packet.
        try guest.writeTable((0..<2000).map { .readable(NetGuest.data + UInt64($0) * 13, 13) }, at: table)
        try guest.add(1, [Buffer(address: table, length: 2000 * 16, flags: Descriptor.indirect)])
        guest.kick(1)
        #expect(wire.receive() == nil)
        #expect(try guest.newUsed(1) == [UsedEntry(id: 0, length: 0)])
        #expect(guest.transport.statistics.droppedRequests == 1)
    }

    @Test(arguments: Wire.Kind.allCases) func class10_smallestMergeableBuffers_carryAPacket(kind: Wire.Kind) throws {
        let (guest, wire) = try started(kind)
        try guest.post(256, size: 12)
        let frame = Frame.make(256 * 12 - 12)
        wire.send(frame)
        guest.run()
        let used = try guest.newUsed(0)
        #expect(used.count == 256)
        #expect(try guest.packet(used, size: 12) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] + frame)
    }

    @Test(arguments: Wire.Kind.allCases) func class7_overlappingHugeBuffers_costNothing(kind: Wire.Kind) throws {
        let (guest, wire) = try started(kind)
        for index in 0..<256 { try guest.add(0, [.writable(0x40_0000, 12 << 20)], head: UInt16(index)) }
        guest.kick(0)
        for seed in 0..<200 {
            wire.send(Frame.make(1000, seed: UInt8(seed)))
            guest.run(rounds: 2)
            #expect(try guest.newUsed(0) == [UsedEntry(id: UInt32(seed), length: 1012)])
            #expect(try Array(guest.bytes(0x40_000c, 1000)) == Frame.make(1000, seed: UInt8(seed)))
        }
    }

    @Test(arguments: Wire.Kind.allCases) func class17_headerIsWholeBeforeTheBuffersAreTheDrivers(kind: Wire.Kind) throws {
        let loop = try EventLoop()
        let thread = try OSThread.start(name: "rx") { loop.run() }
        defer {
            loop.stop()
            thread.join()
        }
        let wire = try Wire(kind)
        let guest = try NetGuest([wire], loops: NetLoops(rx: loop, tx: loop))
        try guest.start()
        for round in 0..<500 {
            // What a reader that is too early would see.
            for index in 0..<3 { try guest.memory.fill(at: guest.receiveBuffer(index, 500), count: 500, byte: 0xee) }
            for index in 0..<3 { try guest.add(0, [.writable(guest.receiveBuffer(index, 500), 500)], head: UInt16(index)) }
            guest.notify(0)
            wire.send(Frame.make(1488, seed: UInt8(round & 0xff)))
            var used: [UsedEntry] = []
            while used.isEmpty { used = try guest.newUsed(0) }
            #expect(used.count == 3)
            #expect(try guest.packet(used, size: 500) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0] + Frame.make(1488, seed: UInt8(round & 0xff)))
        }
    }
}

private final class CountingOps: RegionOps {
    let count = Atomic<Int>(0)
    func read(offset: UInt64, size: Int) -> UInt64 {
        count.add(1, ordering: .relaxed)
        return 0
    }
    func write(offset: UInt64, size: Int, value: UInt64) { count.add(1, ordering: .relaxed) }
}
