import AddressSpace
import Glibc
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Frames both ways at once, with a driver and a peer that take their time: sockets and rings are full and empty by turns, reads and writes end within frames.
@Suite struct StreamPropertyTests {
    private static let frames = 150
    private static let buffer = 1000
    /// More bytes than the longest packet, so that a driver that gives back what it has got is never short of them for good.
    private static let buffers = 80
    private static let slots = 24
    private static func slot(_ index: Int) -> UInt64 { 0x80_0000 + UInt64(index) * 0x1_2000 }

    private static func sizes(_ random: inout SeededGenerator) -> [Int] {
        (0..<frames).map { _ in
            switch Int.random(in: 0..<8, using: &random) {
            case 0: FrameStream.maximumFrame
            case 1: Int.random(in: 14...FrameStream.maximumFrame, using: &random)
            case 2, 3: 1514
            default: Int.random(in: 14...3000, using: &random)
            }
        }
    }

    @Test(arguments: 1...12 as ClosedRange<UInt64>) func framesBothWays_atAnyPace_areAllThereWholeAndInOrder(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let (far, near) = try Wire.ends(SOCK_STREAM, sendBuffer: [2048, 30_000, 212_992].randomElement(using: &random))
        let peer = RawStream(far)
        let guest = try StreamGuest(near).guest
        try guest.start(without: seed.isMultiple(of: 2) ? VirtioFeature.eventIndex : 0)
        for index in 0..<Self.buffers { try guest.add(0, [.writable(guest.receiveBuffer(index, Self.buffer), UInt32(Self.buffer))], head: UInt16(index)) }
        guest.notify(0)

        let inSizes = Self.sizes(&random)
        let outSizes = Self.sizes(&random)
        let incoming = inSizes.enumerated().flatMap { Wire.framed(Frame.make($1, seed: UInt8(truncatingIfNeeded: $0))) }
        var put = 0
        var kept: [UInt16] = []
        var received: [UInt8] = []
        var buffersLeft = 0
        var packets: [[UInt8]] = []
        var sent = 0
        var free = Array(0..<Self.slots)
        var outgoing: [UInt8] = []
        let wanted = outSizes.reduce(0) { $0 + $1 + FrameStream.lengthSize }

        var steps = 0
        while packets.count < Self.frames || outgoing.count < wanted || free.count < Self.slots {
            steps += 1
            try #require(steps < 1_000_000, "\(packets.count) frames in, \(outgoing.count) of \(wanted) bytes out")
            switch Int.random(in: 0..<8, using: &random) {
            case 0 where put < incoming.count:
                let piece = min(incoming.count - put, Int.random(in: 1...40_000, using: &random))
                put += max(0, peer.put(Array(incoming[put..<put + piece])))
            case 1: outgoing += peer.take(Int.random(in: 1...40_000, using: &random)) ?? []
            case 2 where sent < Self.frames && !free.isEmpty:
                let slot = free.removeFirst()
                let size = outSizes[sent]
                try guest.memory.write(at: Self.slot(slot), bytes: [UInt8](repeating: 0, count: 12) + Frame.make(size, seed: UInt8(truncatingIfNeeded: sent)))
                let cut = UInt32.random(in: 12..<UInt32(12 + size), using: &random)
                try guest.add(1, [.readable(Self.slot(slot), cut), .readable(Self.slot(slot) + UInt64(cut), UInt32(12 + size) - cut)], head: UInt16(slot * 2))
                sent += 1
                guest.notify(1)
            case 3: free += try guest.newUsed(1).map { Int($0.id) / 2 }
            case 4:
                for entry in try guest.newUsed(0) {
                    let bytes = try guest.bytes(guest.receiveBuffer(Int(entry.id), Self.buffer), Int(entry.length))
                    kept.append(UInt16(entry.id))
                    if buffersLeft == 0 { buffersLeft = Int(bytes[10]) | Int(bytes[11]) << 8 }
                    received += bytes
                    buffersLeft -= 1
                    if buffersLeft == 0 {
                        packets.append(Array(received.dropFirst(12)))
                        received = []
                    }
                }
            case 5 where !kept.isEmpty:
                for _ in 0..<Int.random(in: 1...kept.count, using: &random) { try guest.offer(0, head: kept.removeFirst()) }
                guest.notify(0)
            default: guest.loop.runOnce(timeoutMilliseconds: 0)
            }
        }
        for (index, size) in inSizes.enumerated() { #expect(packets[index] == Frame.make(size, seed: UInt8(truncatingIfNeeded: index)), "frame \(index)") }
        #expect(outgoing == outSizes.enumerated().flatMap { Wire.framed(Frame.make($1, seed: UInt8(truncatingIfNeeded: $0))) })
        let lost = guest.device { ($0.pairs[0].receiver.droppedPackets.load(ordering: .relaxed), $0.pairs[0].transmitter.refusedPackets.load(ordering: .relaxed)) }
        #expect(lost == (0, 0))
        #expect(guest.transport.statistics.droppedRequests == 0)
    }
}
