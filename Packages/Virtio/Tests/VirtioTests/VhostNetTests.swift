import AddressSpace
import Glibc
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Queues in the kernel's hands; a fake plays the kernel.
@Suite struct VhostNetTests {
    private static let features = FakeVhost.allFeatures | NetFeature.mergeableBuffers

    private func guest(_ fakes: [FakeVhost], hasEvent: Bool = true) throws -> (NetGuest, [Wire]) {
        let wires = try fakes.map { _ in try Wire() }
        let guest = try NetGuest(
            wires, pairs: fakes.count, multiqueue: fakes.count > 1, vhost: try fakes.map { VhostNet(try VhostKernel(port: $0)) }, hasEvent: hasEvent)
        return (guest, wires)
    }

    private func taps(_ calls: [VhostCall]) -> [VhostCall] {
        calls.filter { if case .setNetBackend = $0 { true } else { false } }
    }

    @Test func session_handsBothQueuesOver() throws {
        let fake = FakeVhost(features: Self.features)
        let (guest, wires) = try guest([fake])
        #expect(fake.takeCalls() == [.getFeatures])
        #expect(try guest.start())
        let calls = fake.takeCalls()
        #expect(calls.first == .setOwner)
        #expect(calls.contains(.setFeatures(guest.offeredFeatures & Self.features)))
        let tap = wires[0].queue.receiveDescriptor
        #expect(taps(calls) == [.setNetBackend(queue: 0, tap), .setNetBackend(queue: 1, tap)])
        #expect(fake.kick(0) == guest.transport.notifications[0].raw)
        #expect(fake.kick(1) == guest.transport.notifications[1].raw)
        #expect(fake.callEvent(0) == guest.line.eventDescriptor)
        #expect(guest.device { $0.pairs[0].isInKernel })
        // Nobody here reads the tap or the notifications.
        try guest.add(0, [.writable(NetGuest.data, 2048)])
        wires[0].send(Frame.make())
        guest.notify(0)
        guest.run()
        #expect(try guest.newUsed(0) == [])
        #expect(guest.transport.notifications[0].drain() > 0)
        // Commands are still answered here.
        #expect(try guest.mode(0, true) == 0)
    }

    @Test func features_areThoseOfBoth() throws {
        let (guest, _) = try guest([FakeVhost(features: VirtioFeature.version1)])
        let offered = guest.offeredFeatures
        #expect(offered & (VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | NetFeature.mergeableBuffers) == 0)
        #expect(offered & (NetFeature.checksum | NetFeature.guestTSO4 | NetFeature.controlQueue) == NetFeature.checksum | NetFeature.guestTSO4 | NetFeature.controlQueue)
    }

    @Test func class11_resetAndReplacement_takeEverythingBack() throws {
        let fake = FakeVhost(features: Self.features)
        let (guest, wires) = try guest([fake])
        try guest.start()
        _ = fake.takeCalls()
        guest.write(.status, 0)
        let calls = fake.takeCalls()
        #expect(taps(calls) == [.setNetBackend(queue: 0, -1), .setNetBackend(queue: 1, -1)])
        #expect(fake.heldEvents == 0)
        // Once more, with the same descriptor: it has its owner.
        try guest.start()
        #expect(!fake.takeCalls().contains(.setOwner))
        guest.device { $0.replaceBackend(nil) }
        #expect(taps(fake.takeCalls()) == [.setNetBackend(queue: 0, -1), .setNetBackend(queue: 1, -1)])
        #expect(fake.heldEvents == 0)
        _ = wires
    }

    @Test func class11_replacedThousandTimes_leaksNothing() throws {
        let guest = try NetGuest(hasEvent: false)
        try guest.start()
        for _ in 0..<1000 {
            let wire = try Wire()
            let fake = FakeVhost(features: Self.features)
            var backend = NetGuest.backend([wire], vhost: [VhostNet(try VhostKernel(port: fake))])
            wire.giveAway()
            guest.device { $0.replaceBackend(backend) }
            let (call, error) = (try #require(fake.callEvent(0)), try #require(fake.errorEvent(0)))
            backend = nil
            guest.device { $0.replaceBackend(nil) }
            try #require(wire.isClosed)
            // Watched by nobody any more.
            #expect(throws: Errno.noEntry) { try guest.loop.modify(call, []) }
            #expect(throws: Errno.noEntry) { try guest.loop.modify(error, []) }
        }
    }

    @Test func queues_goOnWhereTheOtherSideStopped() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start()
        try guest.post(8)
        for seed in 0..<3 {
            wire.send(Frame.make(60, seed: UInt8(seed)))
            #expect(try guest.transmit(Frame.make(), on: wire) != nil)
        }
        guest.run()
        #expect(try guest.newUsed(0).count == 3)
        // Into the kernel: buffers that were taken ahead are there again.
        let fake = FakeVhost(features: Self.features)
        let vhostWire = try Wire()
        let backend = NetGuest.backend([vhostWire], vhost: [VhostNet(try VhostKernel(port: fake))])
        guest.device { $0.replaceBackend(backend) }
        let bases = fake.takeCalls().compactMap { if case .setRingBase(_, let base) = $0 { base } else { nil } }
        #expect(bases == [3, 3])
        // The kernel serves two more, and gives them back.
        for queue in 0...1 {
            for index in 3..<5 {
                try guest.memory.store(UInt32(index), at: guest.usedPlace(queue) + 4 + 8 * UInt64(index))
                try guest.memory.store(UInt32(60), at: guest.usedPlace(queue) + 8 + 8 * UInt64(index))
            }
            try guest.memory.storeRelease16(5, at: guest.usedPlace(queue) + 2)
            guest.rings[queue].seen = 5
        }
        for index in 3..<5 { try guest.add(1, [.readable(NetGuest.data, 100)], head: UInt16(index)) }
        fake.state.withLock { $0.ringBase = 5 }
        let third = try Wire()
        guest.device { $0.replaceBackend(NetGuest.backend([third])) }
        third.send(Frame.make(60, seed: 9))
        guest.run()
        let used = try guest.newUsed(0)
        #expect(used == [UsedEntry(id: 5, length: 72)])
        #expect(try guest.packet(used).dropFirst(12) == Frame.make(60, seed: 9)[...])
        #expect(try guest.transmit(Frame.make(), on: third) != nil)
    }

    @Test(arguments: ["VHOST_SET_OWNER", "VHOST_SET_FEATURES", "VHOST_SET_MEM_TABLE", "VHOST_SET_VRING_ADDR", "VHOST_SET_VRING_KICK", "VHOST_NET_SET_BACKEND"])
    func kernelThatRefuses_leavesThePacketsToThisProcess(request: String) throws {
        let fake = FakeVhost(features: Self.features)
        fake.fail(request, .invalid)
        let (guest, wires) = try guest([fake])
        #expect(try guest.start())
        #expect(guest.device { !$0.pairs[0].isInKernel })
        #expect(try guest.transmit(Frame.make(), on: wires[0]) != nil)
        try guest.post(4)
        wires[0].send(Frame.make())
        guest.run()
        #expect(try guest.newUsed(0).count == 1)
    }

    @Test func kernelThatRefusesTheSecondQueue_afterItServedTheFirst_givesThePositionBack() throws {
        let guest = try NetGuest()
        try guest.start()
        try guest.post(4)
        let fake = FakeVhost(features: Self.features)
        fake.state.withLock { state in
            state.refusedBackend = 1
            // Two packets came before the kernel was stopped again.
            state.ringBase = 2
        }
        try guest.memory.storeRelease16(2, at: guest.usedPlace(0) + 2)
        guest.rings[0].seen = 2
        let wire = try Wire()
        let backend = NetGuest.backend([wire], vhost: [VhostNet(try VhostKernel(port: fake))])
        guest.device { $0.replaceBackend(backend) }
        wire.send(Frame.make())
        guest.run()
        #expect(try guest.newUsed(0).map(\.id) == [2])
        #expect(try guest.transmit(Frame.make(), on: wire) != nil)
    }

    @Test func kernelThatKnowsLessThanWasNegotiated_leavesThePacketsToThisProcess() throws {
        let guest = try NetGuest()
        try guest.start()
        let wire = try Wire()
        let backend = NetGuest.backend([wire], vhost: [VhostNet(try VhostKernel(port: FakeVhost(features: VirtioFeature.version1)))])
        guest.device { $0.replaceBackend(backend) }
        guest.run()
        #expect(try guest.transmit(Frame.make(), on: wire) != nil)
    }

    @Test func interrupt_withoutADescriptorOfItsOwn_isRaisedHere() throws {
        let fake = FakeVhost(features: Self.features)
        let (guest, _) = try guest([fake], hasEvent: false)
        try guest.start()
        let before = guest.line.pulses
        let call = try #require(fake.callEvent(0))
        var one: UInt64 = 1
        #expect(write(call, &one, 8) == 8)
        guest.run()
        #expect(guest.line.pulses == before + 1)
        #expect(guest.read(.interruptStatus) & VirtioInterrupt.usedBuffer != 0)
    }

    @Test func class22_ringsThatTheKernelCannotRead_needReset() throws {
        let fake = FakeVhost(features: Self.features)
        let (guest, _) = try guest([fake])
        try guest.start()
        let event = try #require(fake.errorEvent(1))
        var one: UInt64 = 1
        #expect(write(event, &one, 8) == 8)
        guest.run()
        #expect(guest.status.contains(.needsReset))
        #expect(try guest.start())
    }

    @Test func pairs_areHandedOverAsTheDriverAsks() throws {
        let fakes = [FakeVhost(features: Self.features), FakeVhost(features: Self.features)]
        let (guest, wires) = try guest(fakes)
        try guest.start()
        #expect(guest.device { $0.pairs.map(\.isInKernel) } == [true, false])
        #expect(try guest.control([4, 0, 2, 0]) == 0)
        #expect(guest.device { $0.pairs.map(\.isInKernel) } == [true, true])
        #expect(fakes[1].kick(0) == guest.transport.notifications[2].raw)
        #expect(taps(fakes[1].takeCalls()).first == .setNetBackend(queue: 0, wires[1].queue.receiveDescriptor))
        #expect(try guest.control([4, 0, 1, 0]) == 0)
        #expect(guest.device { $0.pairs.map(\.isInKernel) } == [true, false])
        guest.device { $0.setLink(up: false) }
        #expect(guest.device { $0.pairs.map(\.isInKernel) } == [false, false])
        guest.device { $0.setLink(up: true) }
        #expect(guest.device { $0.pairs.map(\.isInKernel) } == [true, false])
    }

    @Test func class14_queueTakenBack_leavesTheOtherToThisProcess() throws {
        let fake = FakeVhost(features: Self.features)
        let (guest, wires) = try guest([fake])
        try guest.start()
        guest.write(.queueSelect, 0)
        guest.write(.queueReady, 0)
        #expect(fake.heldEvents == 0)
        #expect(guest.device { !$0.pairs[0].isInKernel })
        #expect(try guest.transmit(Frame.make(), on: wires[0]) != nil)
    }
}
