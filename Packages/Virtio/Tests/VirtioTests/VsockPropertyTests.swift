import CNetTestSupport
import Glibc
import LinuxSys
import Testing
@testable import Virtio

/// Random traffic with a fixed seed. What must hold: nobody ever has more than it has room for, and every byte arrives, once and in order.
@Suite struct VsockPropertyTests {
    /// A connection as both ends see it; each byte says where it stands.
    private struct Stream {
        let socket: Int32
        let hostPort: UInt32
        let guestPort: UInt32
        let guestBuffer: UInt32
        // To the guest.
        var hostSent = 0
        var guestGot = 0
        var guestTaken = 0
        // To the host.
        var guestSent = 0
        var hostGot = 0
        var deviceBuffer: UInt32
        var deviceForwarded: UInt32 = 0

        private static let pattern = (0..<200_003).map { UInt8(truncatingIfNeeded: $0 ^ $0 >> 8 ^ $0 >> 16) }

        /// The bytes of a stream repeat after so many that nobody could take one round for another.
        static func bytes(_ range: Range<Int>) -> [UInt8] {
            var bytes: [UInt8] = []
            var place = range.lowerBound % pattern.count
            while bytes.count < range.count {
                let count = min(range.count - bytes.count, pattern.count - place)
                bytes += pattern[place..<place + count]
                place = 0
            }
            return bytes
        }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>) func everyByteArrivesInOrder_andNobodyGetsMoreThanItHasRoomFor(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let vsock = try VsockGuest()
        try vsock.start()
        let listener = try vsock.listen(port: 52)
        var streams: [Stream] = []
        for number in 0..<5 as Range<UInt32> {
            let buffer = UInt32(random.next() % 40_000) + 1
            if number % 2 == 0 {
                let (socket, port) = try vsock.connectFromHost(port: number, credit: buffer)
                streams.append(Stream(socket: socket, hostPort: port, guestPort: number, guestBuffer: buffer, deviceBuffer: 64 << 10))
            } else {
                let socket = try vsock.connectFromGuest(port: number, host: 52, listener: listener, credit: buffer)
                streams.append(Stream(socket: socket, hostPort: 52, guestPort: number, guestBuffer: buffer, deviceBuffer: 64 << 10))
            }
        }
        func take(_ packets: [VsockPacket]) throws {
            for packet in packets {
                let index = try #require(streams.firstIndex { $0.hostPort == packet.header.sourcePort && $0.guestPort == packet.header.destinationPort })
                try #require([.data, .creditUpdate, .creditRequest].contains(packet.operation), "\(packet.header)")
                let start = streams[index].guestGot
                try #require(packet.data == Stream.bytes(start..<start + packet.data.count))
                streams[index].guestGot += packet.data.count
                try #require(streams[index].guestGot - streams[index].guestTaken <= Int(streams[index].guestBuffer))
                streams[index].deviceBuffer = packet.header.bufferSize
                streams[index].deviceForwarded = packet.header.forwarded
                // It never claims more than the program could have.
                try #require(Int(packet.header.forwarded) <= streams[index].guestSent)
            }
        }
        func read(_ index: Int, _ limit: Int) throws {
            let bytes = try #require(vsock.read(streams[index].socket, limit))
            let start = streams[index].hostGot
            try #require(bytes == Stream.bytes(start..<start + bytes.count))
            streams[index].hostGot += bytes.count
        }
        func tell(_ index: Int) throws {
            let stream = streams[index]
            try vsock.send(
                .creditUpdate, guest: stream.guestPort, host: stream.hostPort, credit: stream.guestBuffer, forwarded: UInt32(truncatingIfNeeded: stream.guestTaken))
        }
        for _ in 0..<800 {
            let index = Int(random.next() % UInt64(streams.count))
            let stream = streams[index]
            switch random.next() % 6 {
            case 0, 1:
                let count = Int(random.next() % 60_000) + 1
                streams[index].hostSent += max(0, vsock.write(stream.socket, Stream.bytes(stream.hostSent..<stream.hostSent + count)))
                vsock.serve()
            case 2:
                streams[index].guestTaken += Int(random.next() % UInt64(stream.guestGot - stream.guestTaken + 1))
                try tell(index)
            case 3, 4:
                let room = Int(stream.deviceBuffer) - (stream.guestSent - Int(stream.deviceForwarded))
                let count = Int(random.next() % UInt64(max(min(room, 64 << 10), 0) + 1))
                try vsock.send(
                    .data, guest: stream.guestPort, host: stream.hostPort, Stream.bytes(stream.guestSent..<stream.guestSent + count), credit: stream.guestBuffer,
                    forwarded: UInt32(truncatingIfNeeded: stream.guestTaken))
                streams[index].guestSent += count
            default: try read(index, Int(random.next() % 100_000) + 1)
            }
            if random.next() % 3 == 0 { try take(vsock.received()) }
        }
        // Both sides take all that there is.
        for _ in 0..<10_000 {
            try take(vsock.received())
            for index in streams.indices {
                try read(index, 1 << 20)
                if streams[index].guestTaken < streams[index].guestGot {
                    streams[index].guestTaken = streams[index].guestGot
                    try tell(index)
                }
            }
            if streams.allSatisfy({ $0.hostSent == $0.guestGot && $0.guestSent == $0.hostGot }) { break }
        }
        for stream in streams {
            #expect(stream.hostSent == stream.guestGot && stream.hostSent > 0)
            #expect(stream.guestSent == stream.hostGot && stream.guestSent > 0)
        }
        #expect(vsock.dropped == 0)
        #expect(vsock.device { device in
            var buffers = 0
            device.table.forEach { buffers += $0.waiting == nil ? 0 : 1 }
            return buffers
        } == 0)
    }

    /// A guest that says anything and programs that do anything.
    @Test(.timeLimit(.minutes(1)), arguments: 1...2 as ClosedRange<UInt64>) func packetsAndProgramsAtRandom_neverBreakTheDevice(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let vsock = try VsockGuest(connections: 12, patience: 30_000_000)
        try vsock.start()
        let listener = try vsock.listen(port: 52, backlog: 4)
        var programs: [Int32] = []
        var hostPorts: [UInt32] = [52, 53, 1 << 30]
        func number() -> UInt32 { [0, 1, 100, 4096, 65_536, 1 << 31, .max][Int(random.next() % 7)] }
        for round in 0..<2500 {
            switch random.next() % 10 {
            case 0:
                if programs.count > 20 { vsock.close(programs.removeFirst()) }
                programs.append(try vsock.program(["CONNECT 1\n", "CONNECT 2\nxyz", "CONNECT", "x\n", ""][Int(random.next() % 5)]))
            case 1:
                if let socket = programs.randomElement(using: &random) {
                    switch random.next() % 4 {
                    case 0: vsock.write(socket, [UInt8](repeating: 7, count: Int(random.next() % 100_000)))
                    case 1: shutdown(socket, Int32(random.next() % 3))
                    case 2: _ = vsock.read(socket)
                    default:
                        programs.removeAll { $0 == socket }
                        vsock.close(socket)
                    }
                }
            case 2: if programs.count < 20, let socket = vsock.acceptWaiting(listener) { programs.append(socket) }
            case 3:
                let packets = try vsock.received()
                hostPorts += packets.map(\.header.sourcePort).suffix(2)
                if hostPorts.count > 12 { hostPorts.removeFirst(hostPorts.count - 12) }
            default:
                var header = vsock.header(
                    .data, guest: UInt32(random.next() % 4), host: hostPorts.randomElement(using: &random) ?? 52, flags: UInt32(random.next() % 8), credit: number(),
                    forwarded: number())
                header.operation = UInt16(random.next() % 9)
                if random.next() % 3 == 0 { header.operation = [1, 2][Int(random.next() % 2)] }
                let data = [UInt8](repeating: 9, count: Int(random.next() % 4 == 0 ? random.next() % 60_000 : random.next() % 100))
                header.length = random.next() % 10 == 0 ? number() : UInt32(data.count)
                if random.next() % 50 == 0 { header.type = UInt16(random.next() % 4) }
                if random.next() % 50 == 0 { header.destinationCID = random.next() }
                if random.next() % 50 == 0 { header.sourceCID = random.next() }
                try vsock.send(header, data)
                _ = try vsock.guest.newUsed(1)
            }
            if round % 500 == 499 {
                vsock.guest.write(.status, 0)
                try vsock.start()
            }
            try #require(vsock.guest.status.isLive)
            try #require(vsock.connectionCount <= 12)
        }
        for socket in programs { vsock.close(socket) }
        vsock.guest.write(.status, 0)
        try vsock.start()
        let end = Clock.monotonicNanoseconds() + 10_000_000_000
        while vsock.connectionCount > 0, Clock.monotonicNanoseconds() < end {
            _ = try vsock.received()
            Clock.sleep(nanoseconds: 1_000_000)
        }
        #expect(vsock.connectionCount == 0)
    }
}

/// Moving data takes no memory: neither side can make the process allocate by sending more.
@Suite(.enabled(if: nettest_allocations() > 0)) struct VsockAllocationTests {
    private func allocations(_ vsock: VsockGuest, _ work: () throws -> Void) rethrows -> Int {
        let before = nettest_allocations()
        try work()
        return nettest_allocations() - before
    }

    @Test func packetsInBothDirections_takeNoMemory() throws {
        let vsock = try VsockGuest()
        vsock.recycles = false
        try vsock.start(buffers: 0)
        let socket = try vsock.program("CONNECT 52\n")
        try vsock.give(1)
        let port = try vsock.one().header.sourcePort
        try vsock.send(.response, guest: 52, host: port)
        _ = vsock.read(socket)
        let data = [UInt8](repeating: 1, count: 30_000)
        var counts: [Int] = []
        for packets in [1, 1, 1, 8] {
            _ = try vsock.guest.newUsed(1)
            for _ in 0..<packets { try vsock.send(vsock.header(.data, guest: 52, host: port, length: 500), Array(data[..<500]), kicks: false) }
            vsock.write(socket, Array(data[..<(packets * 300)]))
            for _ in 0..<packets {
                let head = vsock.guest.rings[0].availableIndex % 16
                try vsock.guest.offer(0, head: head, [.writable(QueueGuest.data + UInt64(head) * 0x2_0000, 344)])
            }
            counts.append(allocations(vsock) {
                vsock.guest.transport.serveEventSource(vsock.guest.eventSources[0])
                for queue in 0..<2 { vsock.guest.transport.serveQueue(queue) }
            })
            #expect(try vsock.received().flatMap(\.data).count == packets * 300)
            #expect(vsock.read(socket)?.count == packets * 500)
        }
        #expect(counts[3] == counts[2], "\(counts)")
    }
}
