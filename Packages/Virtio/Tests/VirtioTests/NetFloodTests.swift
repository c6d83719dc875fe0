import AddressSpace
import Glibc
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// More packets than anybody can take, and back ends that come and go meanwhile.
@Suite struct NetFloodTests {
    /// A driver that notifies only when it was asked to (virtio 1.2, section 2.7.10).
    private func wantsNotification(_ guest: NetGuest, _ queue: Int, eventIndex: Bool, old: UInt16) throws -> Bool {
        let new = guest.rings[queue].available
        if eventIndex {
            let event = try guest.memory.load(UInt16.self, at: guest.usedPlace(queue) + 4 + 8 * UInt64(guest.rings[queue].size))
            return SplitQueue.crosses(event, from: old, to: new)
        }
        return try guest.memory.load(UInt16.self, at: guest.usedPlace(queue)) & 1 == 0
    }

    // MARK: 5. Receiving never stalls (CVE-2020-16843)

    @Test(arguments: [true, false], [(1, Wire.Kind.tap), (2, .tap), (7, .tap), (64, .tap), (1, .stream), (2, .stream), (7, .stream), (64, .stream)])
    func class5_floodWithFewBuffers_neverStalls(eventIndex: Bool, variant: (buffers: Int, kind: Wire.Kind)) throws {
        let buffers = variant.buffers
        let wire = try Wire(variant.kind)
        let guest = try NetGuest([wire])
        try guest.start(without: eventIndex ? 0 : VirtioFeature.eventIndex)
        for index in 0..<buffers { try guest.add(0, [.writable(guest.receiveBuffer(index, 2048), 2048)], head: UInt16(index)) }
        guest.kick(0)
        var sent = 0
        var received = 0
        var idle = 0
        while received < 3000, idle < 50 {
            while sent < 3000, wire.send(Frame.make(64, seed: UInt8(sent & 0xff))) { sent += 1 }
            wire.flush()
            guest.loop.runOnce(timeoutMilliseconds: 0)
            let used = try guest.newUsed(0)
            idle = used.isEmpty ? idle + 1 : 0
            for entry in used {
                #expect(try Array(guest.packet([entry])[12...]) == Frame.make(64, seed: UInt8(received & 0xff)))
                received += 1
                let old = guest.rings[0].available
                try guest.offer(0, head: UInt16(entry.id))
                if try wantsNotification(guest, 0, eventIndex: eventIndex, old: old) { guest.notify(0) }
            }
        }
        #expect(received == 3000)
    }

    @Test(arguments: [true, false], Wire.Kind.allCases) func class5_driverAndDeviceOnTheirOwnThreads_neverStall(eventIndex: Bool, kind: Wire.Kind) throws {
        let loops = try Loops()
        defer { loops.stop() }
        let wire = try Wire(kind)
        let guest = try NetGuest([wire], loops: NetLoops(rx: loops.first, tx: loops.second))
        try guest.start(without: eventIndex ? 0 : VirtioFeature.eventIndex)
        for index in 0..<8 { try guest.add(0, [.writable(guest.receiveBuffer(index, 2048), 2048)], head: UInt16(index)) }
        guest.notify(0)
        let total = 20000
        let isDone = Atomic<Bool>(false)
        let sender = try OSThread.start(name: "wire") {
            var sent = 0
            while sent < total, !isDone.load(ordering: .relaxed) {
                if wire.send(Frame.make(60)) { sent += 1 } else { sched_yield() }
            }
            while !isDone.load(ordering: .relaxed) {
                wire.flush()
                sched_yield()
            }
        }
        var received = 0
        var transmitted = 0
        let deadline = Clock.monotonicNanoseconds() + 60_000_000_000
        while received < total, Clock.monotonicNanoseconds() < deadline {
            for entry in try guest.newUsed(0) {
                received += 1
                let old = guest.rings[0].available
                try guest.offer(0, head: UInt16(entry.id))
                if try wantsNotification(guest, 0, eventIndex: eventIndex, old: old) { guest.notify(0) }
            }
            // The other direction meanwhile, on its own loop.
            if try guest.memory.loadAcquire16(at: guest.usedPlace(1) + 2) == guest.rings[1].available {
                _ = try guest.newUsed(1)
                while wire.receive() != nil {}
                let old = guest.rings[1].available
                try guest.add(1, [.readable(NetGuest.data, 100)], head: UInt16(transmitted % 256))
                transmitted += 1
                if try wantsNotification(guest, 1, eventIndex: eventIndex, old: old) { guest.notify(1) }
            }
        }
        isDone.store(true, ordering: .relaxed)
        sender.join()
        #expect(received == total)
        #expect(transmitted > 1)
    }

    // MARK: 28. Others come first (Firecracker issue 5260)

    @Test(arguments: Wire.Kind.allCases) func class28_receiveFlood_isABoundedPiecePerWake(kind: Wire.Kind) throws {
        let wire = try Wire(kind)
        let guest = try NetGuest([wire])
        try guest.start()
        try guest.post(250)
        var sent = 0
        while sent < 200, wire.send(Frame.make()) { sent += 1 }
        #expect(sent > NetReceiver.packetsPerWake)
        guest.loop.runOnce(timeoutMilliseconds: 0)
        #expect(try guest.newUsed(0).count == NetReceiver.packetsPerWake)
    }

    @Test func class28_transmitFlood_isABoundedPiecePerWake() throws {
        let guest = try NetGuest()
        try guest.start()
        guest.run()
        let refill = Refill(guest)
        // Each look at the queue finds it full again.
        guest.notify(1)
        for _ in 0..<3 {
            try refill.fill()
            guest.notify(1)
            guest.loop.runOnce(timeoutMilliseconds: 0)
            #expect(try guest.newUsed(1).count <= NetTransmitter.packetsPerWake)
        }
    }

    @Test(arguments: Wire.Kind.allCases) func class28_ringOfBuffersThatAreNone_isABoundedPiecePerWake(kind: Wire.Kind) throws {
        let guest = try NetGuest([Wire(kind)])
        try guest.start()
        try guest.writeTable([.writable(NetGuest.data, 3)], at: guest.place(0))
        for _ in 0..<256 { try guest.offer(0, head: 0) }
        guest.notify(0)
        guest.run()
        #expect(try guest.newUsed(0).count == 256)
    }

    // MARK: 11. Nothing is touched after the end (Cloud Hypervisor issue 7955)

    @Test(arguments: Wire.Kind.allCases) func class11_replacedTenThousandTimes_leaksNothing(kind: Wire.Kind) throws {
        let guest = try NetGuest()
        try guest.start()
        try guest.post(64)
        var last: Wire?
        for round in 0..<10_000 {
            let wire = try Wire(kind)
            guest.device { $0.replaceBackend(NetGuest.backend([wire])) }
            wire.giveAway()
            if let last { try #require(last.isClosed) }
            last = wire
            if round % 100 == 0 {
                wire.send(Frame.make())
                guest.run(rounds: 3)
                let used = try guest.newUsed(0)
                #expect(used.count == 1)
                for entry in used { try guest.offer(0, head: UInt16(entry.id)) }
                #expect(try guest.transmit(Frame.make(), on: wire) != nil)
            }
            if round % 2 == 0 { guest.device { $0.replaceBackend(nil) } }
        }
        guest.device { $0.replaceBackend(nil) }
        #expect(last?.isClosed == true)
    }

    @Test(arguments: Wire.Kind.allCases) func class11_replacedAndResetUnderFlood_neverTouchesGuestMemoryAfterwards(kind: Wire.Kind) throws {
        let loops = try Loops()
        defer { loops.stop() }
        let guest = try NetGuest(loops: NetLoops(rx: loops.first, tx: loops.second))
        let wires = try (0..<4).map { _ in try Wire(kind) }
        let isDone = Atomic<Bool>(false)
        let sender = try OSThread.start(name: "wire") {
            while !isDone.load(ordering: .relaxed) {
                for wire in wires {
                    wire.send(Frame.make(1000))
                    _ = wire.receive()
                }
            }
        }
        let rings = [UInt8](repeating: 0x5a, count: 0x1_8000)
        let buffers = [UInt8](repeating: 0x5a, count: 200 * 2048)
        for round in 0..<200 {
            guest.device { $0.replaceBackend(NetGuest.backend([wires[round % 4]])) }
            try guest.start()
            for index in 0..<200 { try guest.add(0, [.writable(guest.receiveBuffer(index, 2048), 2048)], head: UInt16(index)) }
            for index in 0..<100 { try guest.add(1, [.readable(NetGuest.data, 500)], head: UInt16(index)) }
            guest.notify(0)
            guest.notify(1)
            if round % 3 == 0 { usleep(200) }
            guest.device { $0.replaceBackend(NetGuest.backend([wires[(round + 1) % 4]])) }
            if round % 2 == 0 { usleep(100) }
            guest.write(.status, 0)
            #expect(guest.status.rawValue == 0)
            // The driver has everything back: rings and buffers stay as it leaves them.
            try guest.memory.fill(at: 0x10_0000, count: 0x1_8000, byte: 0x5a)
            try guest.memory.fill(at: guest.receiveBuffer(0, 2048), count: 200 * 2048, byte: 0x5a)
            usleep(300)
            #expect(try guest.bytes(0x10_0000, rings.count) == rings)
            #expect(try guest.bytes(guest.receiveBuffer(0, 2048), buffers.count) == buffers)
        }
        guest.device { $0.replaceBackend(nil) }
        isDone.store(true, ordering: .relaxed)
        sender.join()
    }

    @Test func class11_linkAndPairsChangedUnderFlood_goOn() throws {
        let loops = try Loops()
        defer { loops.stop() }
        let wires = try (0..<2).map { _ in try Wire() }
        let guest = try NetGuest(wires, pairs: 2, multiqueue: true, loops: NetLoops(rx: loops.first, tx: loops.second))
        try guest.start()
        let isDone = Atomic<Bool>(false)
        let sender = try OSThread.start(name: "wire") {
            while !isDone.load(ordering: .relaxed) { for wire in wires { wire.send(Frame.make(200)) } }
        }
        for queue in [0, 2] {
            for index in 0..<64 { try guest.add(queue, [.writable(guest.receiveBuffer(index, 2048), 2048)], head: UInt16(index)) }
            guest.notify(queue)
        }
        for round in 0..<500 {
            guest.device { $0.setLink(up: round % 2 == 1) }
            #expect(try guest.control([4, 0, UInt8(1 + round / 2 % 2), 0]) == 0)
            #expect(try guest.mode(UInt8(round % 6), round % 4 < 2) == 0)
            for queue in [0, 2] {
                for entry in try guest.newUsed(queue) { try guest.offer(queue, head: UInt16(entry.id)) }
                guest.notify(queue)
            }
        }
        isDone.store(true, ordering: .relaxed)
        sender.join()
        #expect(!guest.status.contains(.needsReset))
    }

    @Test func tapThatFails_isLeftAlone() throws {
        let guest = try NetGuest()
        try guest.start()
        try guest.post(8)
        do {
            let wire = try Wire()
            guest.device { $0.replaceBackend(NetGuest.backend([wire])) }
            wire.giveAway()
            guest.run()
            // The far end is closed here.
        }
        guest.run()
        // Nothing is ready any more: the loop would spin otherwise.
        let start = Clock.monotonicNanoseconds()
        guest.loop.runOnce(timeoutMilliseconds: 50)
        #expect(Clock.monotonicNanoseconds() - start > 30_000_000)
        try guest.add(1, [.readable(NetGuest.data, 100)])
        guest.kick(1)
        #expect(try guest.newUsed(1).count == 1)
        // A new one works.
        let wire = try Wire()
        guest.device { $0.replaceBackend(NetGuest.backend([wire])) }
        wire.send(Frame.make())
        guest.run()
        #expect(try guest.newUsed(0).count == 1)
    }

    @Test func tapThatHasFailed_isNotReadAgain_howeverOftenTheGuestResets() throws {
        let guest = try NetGuest()
        try guest.start()
        do {
            let wire = try Wire()
            guest.device { $0.replaceBackend(NetGuest.backend([wire])) }
            wire.giveAway()
        }
        // One line in the log, whatever the guest does from here on.
        for _ in 0..<3 {
            try guest.start()
            try guest.post(8)
            #expect(guest.device { $0.pairs[0].receiver.isDead })
            #expect(guest.device { $0.backend?.queues[0].hasFailed } == true)
            guest.write(.status, 0)
            // Before anything could have been read.
            #expect(guest.device { $0.backend?.queues[0].hasFailed } == true)
        }
    }

    @Test func tapThatFailsWhileThereAreNoBuffers_isLeftAlone() throws {
        let guest = try NetGuest()
        try guest.start()
        do {
            let wire = try Wire()
            guest.device { $0.replaceBackend(NetGuest.backend([wire])) }
            wire.send(Frame.make())
            guest.run()
        }
        guest.run()
        let start = Clock.monotonicNanoseconds()
        guest.loop.runOnce(timeoutMilliseconds: 50)
        #expect(Clock.monotonicNanoseconds() - start > 30_000_000)
        // What had come before is still there.
        try guest.post(4)
        #expect(try guest.newUsed(0).count == 1)
    }
}

/// Two loops with their threads.
private final class Loops {
    let first: EventLoop
    let second: EventLoop
    private let threads: [OSThread]

    init() throws {
        let (first, second) = (try EventLoop(), try EventLoop())
        self.first = first
        self.second = second
        threads = [try OSThread.start(name: "first") { first.run() }, try OSThread.start(name: "second") { second.run() }]
    }

    func stop() {
        first.stop()
        second.stop()
        for thread in threads { thread.join() }
    }
}

private struct Refill {
    let guest: NetGuest
    init(_ guest: NetGuest) { self.guest = guest }
    func fill() throws {
        for index in 0..<256 { try guest.add(1, [.readable(NetGuest.data, 100)], head: UInt16(index)) }
    }
}
