import AddressSpace
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// The network device as a driver sees it.
@Suite struct NetDeviceTests {
    private static let common: UInt64 =
        1 << 32 | 1 << 29 | 1 << 28 | 1 << 0 | 1 << 1 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 11 | 1 << 12 | 1 << 15 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20
        | 1 << 23

    @Test func features_areThoseOfTheBackEnd() throws {
        #expect(try NetGuest().offeredFeatures == Self.common)
        #expect(try NetGuest([Wire()]).offeredFeatures == Self.common)
        #expect(try NetGuest([Wire()], hasUFO: true).offeredFeatures == Self.common | 1 << 10 | 1 << 14)
        #expect(try NetGuest([Wire()], pairs: 2, multiqueue: true).offeredFeatures == Self.common | 1 << 22)
        #expect(try NetGuest([Wire()], pairs: 1, multiqueue: true).offeredFeatures == Self.common)
        #expect(try NetGuest([Wire()], pairs: 2).offeredFeatures == Self.common)
    }

    @Test func queues_arePairsAndOneForControl() throws {
        let guest = try NetGuest(pairs: 4, multiqueue: true, queueSize: 1024)
        let sizes = (0..<10).map { index in
            guest.write(.queueSelect, UInt32(index))
            return guest.read(.queueSizeMaximum)
        }
        #expect(sizes == [1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024, 64, 0])
    }

    @Test(arguments: [0, 1, 255, 257, 300, 8192] as [UInt16]) func queueSizesOutOfRange_become256(size: UInt16) {
        #expect(NetOptions(mac: Frame.own, queueSize: size).size == 256)
    }

    @Test func queueSizesAndPairs_inRangeStay() {
        for size in [256, 512, 1024, 2048, 4096] as [UInt16] { #expect(NetOptions(mac: Frame.own, queueSize: size).size == size) }
        #expect(NetOptions(mac: Frame.own, queuePairs: 0).pairs == 1)
        #expect(NetOptions(mac: Frame.own, queuePairs: 16).pairs == 16)
        #expect(NetOptions(mac: Frame.own, queuePairs: 17).pairs == 16)
    }

    @Test func configuration_hasAddressStatusAndPairs() throws {
        let guest = try NetGuest([Wire()], pairs: 3, multiqueue: true)
        #expect((0..<6).map { guest.config(UInt64($0), 1) } == [0x52, 0x54, 0, 0x12, 0x34, 0x56])
        #expect(guest.config(6, 2) == 1)
        #expect(guest.config(8, 2) == 3)
        #expect(guest.config(10, 2) == 0)
        #expect(guest.config(0, 8) == 0x0001_5634_1200_5452)
        // Read-only, and nothing beyond the end.
        guest.transport.write(offset: MMIORegister.config, size: 4, value: 0)
        #expect(guest.config(0, 1) == 0x52)
        #expect(guest.config(0xf8, 8) == 0)
    }

    // MARK: Transmit

    @Test func transmitted_packetsComeOutAsTheyWere() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        #expect(try guest.start())
        for count in [14, 60, 1514, 4096, 65553] {
            let frame = Frame.make(count)
            #expect(try guest.transmit(frame, on: wire) == [UInt8](repeating: 0, count: 12) + frame)
        }
    }

    @Test func transmitted_packetInPiecesAndIndirect() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start()
        let packet = [UInt8](repeating: 0, count: 12) + Frame.make(100)
        try guest.memory.write(at: NetGuest.data, bytes: packet)
        for cuts in [[12], [1, 5, 11, 12, 13], [60, 61], [3], Array(1..<100)] {
            var pieces: [Buffer] = []
            var start = 0
            for end in cuts + [packet.count] {
                pieces.append(.readable(NetGuest.data + UInt64(start), UInt32(end - start)))
                start = end
            }
            try guest.add(1, pieces)
            guest.kick(1)
            #expect(wire.receive() == packet)
            try guest.writeTable(pieces, at: NetGuest.table)
            try guest.add(1, [Buffer(address: NetGuest.table, length: UInt32(pieces.count * 16), flags: Descriptor.indirect)], head: 9)
            guest.kick(1)
            #expect(wire.receive() == packet)
            #expect(try guest.newUsed(1) == [UsedEntry(id: 0, length: 0), UsedEntry(id: 9, length: 0)])
        }
    }

    @Test func transmitted_headerKeepsWhatWasNegotiated() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        // NEEDS_CSUM, TCPv4, header length 54, segments of 1448, checksum from 34 at 16; unknown flags and num_buffers are left out.
        let header: [UInt8] = [0xff, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 7, 7]
        try guest.start()
        #expect(try guest.transmit(Frame.make(3000), header: header, on: wire)?.prefix(12) == [1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0])
        // Without CSUM there is no flag, without TSO no such packet.
        try guest.start(without: NetFeature.checksum | NetFeature.hostTSO4 | NetFeature.hostTSO6)
        #expect(try guest.transmit(Frame.make(3000), header: header, on: wire) == nil)
        #expect(try guest.transmit(Frame.make(3000), header: [1, 0] + header[2...], on: wire)?.prefix(2) == [0, 0])
        #expect(guest.transport.statistics.droppedRequests == 1)
    }

    @Test func transmitted_packetsWaitForAFullTap() throws {
        let wire = try Wire(sendBuffer: 4096)
        let guest = try NetGuest([wire])
        try guest.start()
        let count = 100
        for index in 0..<count {
            let place = NetGuest.data + UInt64(index) * 2048
            try guest.memory.write(at: place, bytes: [UInt8](repeating: 0, count: 12) + Frame.make(1000, seed: UInt8(index)))
            try guest.add(1, [.readable(place, 1012)], head: UInt16(index))
        }
        guest.kick(1)
        var used = try guest.newUsed(1).count
        #expect(used > 0 && used < count)
        var received = 0
        while let packet = wire.receive() {
            #expect(Array(packet[12...]) == Frame.make(1000, seed: UInt8(received)))
            received += 1
            guest.run(rounds: 4)
        }
        used += try guest.newUsed(1).count
        // In order, each once, none lost.
        #expect(received == count)
        #expect(used == count)
    }

    // MARK: Receive

    @Test func received_packetIsDeliveredWithItsHeader() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start()
        try guest.post(4)
        let frame = Frame.make(1514)
        wire.send(frame, header: [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0])
        guest.run()
        let used = try guest.newUsed(0)
        #expect(used == [UsedEntry(id: 0, length: 1526)])
        #expect(try guest.packet(used) == [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0] + frame)
        #expect(guest.line.pulses > 0)
    }

    @Test func received_packetSpansBuffersWhenTheyMerge() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start()
        try guest.post(200, size: 500)
        for count in [14, 488, 489, 1500, 9000, 65553] {
            let frame = Frame.make(count, seed: UInt8(truncatingIfNeeded: count))
            wire.send(frame)
            guest.run()
            let used = try guest.newUsed(0)
            let buffers = (count + 12 + 499) / 500
            #expect(used.count == buffers)
            #expect(used.dropLast().allSatisfy { $0.length == 500 })
            #expect(try guest.packet(used, size: 500) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, UInt8(buffers & 0xff), UInt8(buffers >> 8)] + frame)
        }
    }

    /// The kernel is shown no more buffers than packets took lately: what goes beyond them comes by another way.
    @Test(arguments: [true, false]) func received_packetIsWhole_howeverSmallThoseBeforeItWere(merges: Bool) throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start(without: merges ? 0 : NetFeature.mergeableBuffers)
        for (round, large) in [2036, 2037, 3000, 9000, 65553, 4096].enumerated() {
            for count in [Int](repeating: 60, count: 200) + [large, 60, large] {
                let size = merges ? 700 : 70000
                try guest.post(merges ? (count + 12 + 699) / 700 : 1, size: size)
                let frame = Frame.make(count, seed: UInt8(round))
                wire.send(frame)
                guest.run(rounds: 2)
                let used = try guest.newUsed(0)
                #expect(try Array(guest.packet(used, size: size).dropFirst(12)) == frame)
            }
        }
    }

    @Test func received_packetOfOneBufferWithoutMerging() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start(without: NetFeature.mergeableBuffers)
        // A header of its own, as old drivers have it.
        try guest.add(0, [.writable(NetGuest.header, 12), .writable(NetGuest.data, 70000)])
        guest.kick(0)
        let frame = Frame.make(65553)
        wire.send(frame)
        guest.run()
        #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 65565)])
        #expect(try guest.bytes(NetGuest.header, 12) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
        #expect(try guest.bytes(NetGuest.data, frame.count) == frame)
    }

    /// A driver that is shown nothing before its ring is empty cannot fill it meanwhile.
    @Test(arguments: Wire.Kind.allCases) func received_packetsAreShownInQuartersOfTheRing(kind: Wire.Kind) throws {
        let wire = try Wire(kind)
        let guest = try NetGuest([wire])
        try guest.start(without: VirtioFeature.eventIndex, ringSize: 16)
        try guest.post(16)
        for index in 0..<12 { wire.send(Frame.make(60, seed: UInt8(index))) }
        let before = guest.line.pulses
        guest.run()
        #expect(try guest.newUsed(0).count == 12)
        #expect(guest.line.pulses - before == 3)
    }

    @Test func received_flagsAreZeroWithoutGuestChecksum() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start(without: NetFeature.guestChecksum | NetFeature.guestTSO4 | NetFeature.guestTSO6)
        try guest.post(4)
        wire.send(Frame.make(), header: [2] + [UInt8](repeating: 0, count: 11))
        guest.run()
        #expect(try guest.packet(try guest.newUsed(0)).first == 0)
    }

    @Test func received_largePacketWaitsForBuffersThatAreMissing() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start()
        try guest.post(5, size: 500)
        let frame = Frame.make(9000)
        wire.send(frame)
        wire.send(Frame.make(60, seed: 9))
        guest.run()
        #expect(try guest.newUsed(0) == [])
        try guest.post(10, size: 500, first: 5)
        #expect(try guest.newUsed(0) == [])
        try guest.post(10, size: 500, first: 15)
        let used = try guest.newUsed(0)
        #expect(used.count == 20)
        #expect(try guest.packet(Array(used.prefix(19)), size: 500) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 19, 0] + frame)
        #expect(try Array(guest.packet(Array(used.suffix(1)), size: 500)[12...]) == Frame.make(60, seed: 9))
    }

    @Test func received_packetsBehindOneThatWaitsInVainComeThrough() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start()
        // A driver that keeps few buffers, and gives new ones only when it gets some back.
        try guest.post(5, size: 500)
        wire.send(Frame.make(9000))
        wire.send(Frame.make(60, seed: 9))
        guest.run()
        #expect(try guest.newUsed(0) == [])
        for _ in 0..<100 {
            guest.loop.runOnce(timeoutMilliseconds: 10)
            if try guest.memory.loadAcquire16(at: guest.usedPlace(0) + 2) != 0 { break }
        }
        let used = try guest.newUsed(0)
        #expect(used.count == 1)
        #expect(try Array(guest.packet(used, size: 500)[12...]) == Frame.make(60, seed: 9))
        #expect(guest.device { $0.pairs[0].receiver.droppedPackets.load(ordering: .relaxed) } == 1)
    }

    /// A host that is busy lets a guest stand still for longer than a driver that looks at its ring has to be waited for.
    @Test(arguments: Wire.Kind.allCases, [true, false]) func received_largePacketWaitsForADriverThatHasYetToLook(kind: Wire.Kind, eventIndex: Bool) throws {
        let wire = try Wire(kind)
        let guest = try NetGuest([wire])
        try guest.start(without: eventIndex ? 0 : VirtioFeature.eventIndex)
        try guest.post(6, size: 500)
        wire.send(Frame.make(60, seed: 1))
        guest.run()
        let frame = Frame.make(9000)
        wire.send(frame)
        let end = Clock.monotonicNanoseconds() + 5 * NetReceiver.patience
        while Clock.monotonicNanoseconds() < end { guest.loop.runOnce(timeoutMilliseconds: 10) }
        try guest.post(20, size: 500, first: 6)
        let used = try guest.newUsed(0)
        #expect(used.count == 20)
        #expect(try guest.packet(Array(used.dropFirst()), size: 500).dropFirst(12) == frame[...])
        #expect(guest.device { $0.pairs[0].receiver.droppedPackets.load(ordering: .relaxed) } == 0)
    }

    @Test func received_largePacketDoesNotWaitForeverForADriverThatNeverLooks() throws {
        let wire = try Wire(.stream)
        let guest = try NetGuest([wire])
        try guest.start()
        try guest.post(6, size: 500)
        wire.send(Frame.make(60, seed: 1))
        guest.run()
        wire.send(Frame.make(9000))
        let start = Clock.monotonicNanoseconds()
        let least = UInt64(NetReceiver.turns) * NetReceiver.patience
        func dropped() -> UInt64 { guest.device { $0.pairs[0].receiver.droppedPackets.load(ordering: .relaxed) } }
        while dropped() == 0, Clock.monotonicNanoseconds() - start < 10 * least { guest.loop.runOnce(timeoutMilliseconds: 10) }
        #expect(Clock.monotonicNanoseconds() - start >= least)
        #expect(dropped() == 1)
    }

    // MARK: Link and back end

    @Test func emptySlot_hasNoLinkAndSwallowsPackets() throws {
        let guest = try NetGuest()
        #expect(try guest.start())
        #expect(guest.config(6, 2) == 0)
        try guest.add(1, [.readable(NetGuest.data, 100)])
        guest.kick(1)
        #expect(try guest.newUsed(1) == [UsedEntry(id: 0, length: 0)])
        // A tap comes, and goes.
        let wire = try Wire()
        try guest.post(8)
        guest.device { $0.replaceBackend(NetGuest.backend([wire])) }
        guest.transport.configurationChanged()
        #expect(guest.read(.interruptStatus) & 2 != 0)
        #expect(guest.config(6, 2) == 1)
        wire.send(Frame.make())
        guest.run()
        #expect(try guest.newUsed(0).count == 1)
        #expect(try guest.transmit(Frame.make(), on: wire) != nil)
        guest.device { $0.replaceBackend(nil) }
        #expect(guest.config(6, 2) == 0)
        wire.send(Frame.make())
        guest.run()
        #expect(try guest.newUsed(0) == [])
    }

    @Test func deviceWithAnAddressOfItsOwn_showsItAtOnce_andADriverGoesOnWithTheOldOneUntilItResets() throws {
        let guest = try NetGuest()
        #expect(try guest.start())
        let old = guest.device { $0.filter.mac }
        let plugged = MACAddress(0x02, 0, 0, 0, 0, 7)
        let wire = try Wire()
        guest.device { $0.replaceBackend(NetGuest.backend([wire]), mac: plugged) }
        #expect((0..<6).map { guest.config(UInt64($0), 1) } == [2, 0, 0, 0, 0, 7])
        #expect(guest.device { $0.filter.mac } == old)
        // Another back end alone changes no address, nor does a reset.
        guest.device { $0.replaceBackend(nil) }
        guest.write(.status, 0)
        #expect(guest.config(5, 1) == 7)
        #expect(try guest.start())
        #expect(guest.device { $0.filter.mac } == plugged)
    }

    @Test func linkDown_stopsBothDirectionsAndForgetsWhatCame() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start()
        try guest.post(8)
        guest.device { $0.setLink(up: false) }
        #expect(guest.config(6, 2) == 0)
        for _ in 0..<5 { wire.send(Frame.make()) }
        #expect(try guest.transmit(Frame.make(), on: wire) == nil)
        #expect(try guest.newUsed(0) == [])
        guest.device { $0.setLink(up: true) }
        guest.run()
        #expect(guest.config(6, 2) == 1)
        #expect(try guest.newUsed(0) == [])
        wire.send(Frame.make(60, seed: 3))
        guest.run()
        #expect(try guest.packet(try guest.newUsed(0)).dropFirst(12) == Frame.make(60, seed: 3)[...])
        #expect(try guest.transmit(Frame.make(), on: wire) != nil)
    }

    @Test func linkThatWasDown_isUpForTheNextDeviceInTheSlot() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start()
        guest.device { $0.setLink(up: false) }
        // Another back end for the same device changes nothing.
        let second = try Wire()
        guest.device { $0.replaceBackend(NetGuest.backend([second])) }
        #expect(guest.config(6, 2) == 0)
        guest.device { $0.replaceBackend(nil) }
        let third = try Wire()
        guest.device { $0.replaceBackend(NetGuest.backend([third])) }
        #expect(guest.config(6, 2) == 1)
        #expect(try guest.transmit(Frame.make(), on: third) != nil)
    }

    @Test func reset_thenStart_servesAgain() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        for round in 0..<20 {
            try guest.start(without: round % 2 == 0 ? NetFeature.mergeableBuffers : 0)
            try guest.post(8)
            wire.send(Frame.make(60, seed: UInt8(round)))
            guest.run()
            #expect(try guest.packet(try guest.newUsed(0)).dropFirst(12) == Frame.make(60, seed: UInt8(round))[...])
            #expect(try guest.transmit(Frame.make(), on: wire) != nil)
        }
    }

    @Test(arguments: [false, true]) func attachedDevice_sharesTheLoopWithItsTransport(hasLoopsOfItsOwn: Bool) throws {
        let wire = try Wire()
        let other = try EventLoop()
        let thread = try OSThread.start(name: "net") { other.run() }
        defer {
            other.stop()
            thread.join()
        }
        let guest = try NetGuest([wire], loops: hasLoopsOfItsOwn ? NetLoops(rx: other, tx: other) : nil, isAttached: true)
        func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
            for _ in 0..<1000 {
                guest.loop.runOnce(timeoutMilliseconds: 1)
                if try condition() { return true }
            }
            return false
        }
        for round in 0..<20 {
            try #require(try guest.start())
            try guest.post(8)
            wire.send(Frame.make(60, seed: UInt8(round)))
            #expect(try eventually { try guest.newUsed(0).count == 1 })
            try guest.memory.write(at: NetGuest.data, bytes: [UInt8](repeating: 0, count: 12) + Frame.make())
            try guest.add(1, [.readable(NetGuest.data, 72)])
            guest.write(.queueNotify, 1)
            #expect(eventually { wire.receive() != nil })
            // Commands are on the transport's loop.
            try guest.memory.write(at: NetGuest.command, bytes: [0, 0, 1])
            try guest.add(2, [.readable(NetGuest.command, 3), .writable(NetGuest.status, 1)])
            guest.write(.queueNotify, 2)
            #expect(try eventually { try guest.newUsed(2).count == 1 })
            // A ruined ring is the transport's business.
            if round % 2 == 1 {
                try guest.offer(1, head: 999)
                guest.write(.queueNotify, 1)
                #expect(eventually { guest.status.contains(.needsReset) })
            }
        }
        guest.transport.detach()
    }

    // MARK: Pairs

    @Test func pairs_areServedAsTheDriverAsks() throws {
        let wires = try [Wire(), Wire(), Wire()]
        let guest = try NetGuest(wires, pairs: 3, multiqueue: true)
        try guest.start()
        for pair in 0..<3 { try guest.post(8, queue: 2 * pair) }
        for wire in wires { wire.send(Frame.make()) }
        guest.run()
        #expect(try (0..<3).map { try guest.newUsed(2 * $0).count } == [1, 0, 0])
        #expect(try guest.control([4, 0, 2, 0]) == 0)
        guest.run()
        #expect(try (0..<3).map { try guest.newUsed(2 * $0).count } == [0, 1, 0])
        #expect(try guest.transmit(Frame.make(), on: wires[1], queue: 3) != nil)
        #expect(try guest.transmit(Frame.make(), on: wires[2], queue: 5) == nil)
        #expect(try guest.control([4, 0, 3, 0]) == 0)
        guest.run()
        #expect(wires[2].receive() != nil)
        #expect(try (0..<3).map { try guest.newUsed(2 * $0).count } == [0, 0, 1])
        // A new driver begins with one.
        try guest.start()
        #expect(guest.device { $0.activePairs } == 1)
    }

    @Test func controlQueue_isTheThirdWithoutMultiqueue() throws {
        let guest = try NetGuest([Wire()], pairs: 2, multiqueue: true)
        try guest.start(without: NetFeature.multiqueue, queues: [0, 1, 2])
        #expect(guest.controlIndex == 2)
        #expect(try guest.mode(0, true) == 0)
        #expect(try guest.control([4, 0, 1, 0]) == 1)
    }
}
