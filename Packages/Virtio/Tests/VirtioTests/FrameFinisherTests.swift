import AddressSpace
import LinuxSys
import Testing
@testable import Virtio

/// Packets of a driver that has negotiated offloads, on their way to a peer that takes whole frames only.
@Suite struct FrameFinisherTests {
    /// As after an empty slot was filled with a stream.
    private func guest() throws -> (NetGuest, Wire) {
        let guest = try NetGuest()
        try guest.start()
        let wire = try Wire(.stream)
        guest.device { $0.replaceBackend(wire.streamBackend) }
        guest.run()
        return (guest, wire)
    }

    private static func bytes(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 0xff), UInt8(value & 0xff)] }

    /// The ones' complement sum of 16-bit words.
    private static func sum(_ bytes: some Sequence<UInt8>) -> Int {
        var total = 0
        for (index, byte) in bytes.enumerated() { total += index % 2 == 0 ? Int(byte) << 8 : Int(byte) }
        while total > 0xffff { total = (total & 0xffff) + total >> 16 }
        return total
    }

    private struct Packet {
        var frame: [UInt8]
        var network: Int
        var transport: Int
    }

    /// A TCP packet with the sum of its pseudo header in the place of the checksum.
    private static func tcp(payload: Int, isIPv4: Bool, hasVLAN: Bool = false, flags: UInt8 = 0x99, options: Int = 12) -> Packet {
        var frame = (0..<6).map { Frame.other[$0] } + (0..<6).map { Frame.own[$0] } + (hasVLAN ? [0x81, 0, 0, 5] : [])
        frame += isIPv4 ? [0x08, 0x00] : [0x86, 0xdd]
        let network = frame.count
        let length = 20 + options + payload
        let addresses: [UInt8]
        if isIPv4 {
            addresses = [10, 0, 0, 1, 10, 0, 0, 2]
            frame += [0x45, 0] + bytes(20 + length & 0xffff) + [0xff, 0xfe, 0x40, 0, 64, 6, 0, 0] + addresses
        } else {
            addresses = (0..<32).map { UInt8($0 * 7) }
            frame += [0x60, 0, 0, 0] + bytes(length & 0xffff) + [6, 64] + addresses
        }
        let transport = frame.count
        let pseudo = sum(addresses + [0, 6] + bytes(length))
        frame += [0x12, 0x34, 0, 80, 0xff, 0xff, 0xff, 0, 1, 2, 3, 4, UInt8((20 + options) / 4) << 4, flags, 0xff, 0xff] + bytes(pseudo) + [0, 0]
        frame += (0..<options).map { UInt8($0) }
        frame += (0..<payload).map { UInt8(truncatingIfNeeded: $0 &* 13 &+ $0 >> 8) }
        return Packet(frame: frame, network: network, transport: transport)
    }

    private static func header(_ kind: UInt8, segment: Int, start: Int, offset: Int, flags: UInt8 = 1) -> [UInt8] {
        func little(_ value: Int) -> [UInt8] { [UInt8(value & 0xff), UInt8(value >> 8 & 0xff)] }
        return [flags, kind] + little(0) + little(segment) + little(start) + little(offset) + [0, 0]
    }

    /// Checksums of a segment are right.
    private func expectWhole(_ frame: [UInt8], _ packet: Packet, isIPv4: Bool, sourceLocation: SourceLocation = #_sourceLocation) {
        let tcp = Array(frame[packet.transport...])
        let addresses = isIPv4 ? frame[packet.network + 12..<packet.network + 20] : frame[packet.network + 8..<packet.network + 40]
        #expect(Self.sum(Array(addresses) + [0, 6] + Self.bytes(tcp.count) + tcp) == 0xffff, sourceLocation: sourceLocation)
        if isIPv4 { #expect(Self.sum(frame[packet.network..<packet.transport]) == 0xffff, sourceLocation: sourceLocation) }
    }

    @Test(arguments: [60, 61, 1500, 9001, 60000]) func checksum_isMade(size: Int) throws {
        let (guest, wire) = try guest()
        let packet = Self.tcp(payload: size, isIPv4: true)
        let out = try #require(try guest.transmit(packet.frame, header: Self.header(0, segment: 0, start: packet.transport, offset: 16), on: wire))
        let frame = Array(out[12...])
        #expect(frame.count == packet.frame.count)
        let tcp = Array(frame[packet.transport...])
        #expect(Self.sum(Array(frame[packet.network + 12..<packet.network + 20]) + [0, 6] + Self.bytes(tcp.count) + tcp) == 0xffff)
        let isElseTheSame = frame[..<(packet.transport + 16)] == packet.frame[..<(packet.transport + 16)]
            && frame[(packet.transport + 18)...] == packet.frame[(packet.transport + 18)...]
        #expect(isElseTheSame)
    }

    @Test(arguments: [(true, false), (false, false), (true, true), (false, true)], [(1, 1448), (1448, 1448), (1449, 1448), (60000, 1448), (60001, 333), (0, 100)])
    func segments_areMade(kind: (isIPv4: Bool, hasVLAN: Bool), size: (payload: Int, segment: Int)) throws {
        let (guest, wire) = try guest()
        let packet = Self.tcp(payload: size.payload, isIPv4: kind.isIPv4, hasVLAN: kind.hasVLAN)
        let header = Self.header(kind.isIPv4 ? 1 : 4, segment: size.segment, start: packet.transport, offset: 16)
        var out = try guest.transmit(packet.frame, header: header, on: wire)
        let start = packet.transport + 32
        var payload: [UInt8] = []
        var number = 0
        while let found = out {
            let frame = Array(found[12...])
            expectWhole(frame, packet, isIPv4: kind.isIPv4)
            let isLast = payload.count + frame.count - start == size.payload
            #expect(isLast || frame.count - start == size.segment)
            let sequence = frame[packet.transport + 4..<packet.transport + 8].reduce(0) { $0 << 8 | UInt32($1) }
            #expect(sequence == 0xffff_ff00 &+ UInt32(payload.count))
            // CWR, ACK, PSH, FIN.
            #expect(frame[packet.transport + 13] == (number == 0 ? 0x80 : 0) | 0x10 | (isLast ? 0x09 : 0))
            if kind.isIPv4 {
                #expect(Array(frame[packet.network + 2..<packet.network + 4]) == Self.bytes(frame.count - packet.network))
                #expect(Array(frame[packet.network + 4..<packet.network + 6]) == Self.bytes((0xfffe + number) & 0xffff))
            } else {
                #expect(Array(frame[packet.network + 4..<packet.network + 6]) == Self.bytes(frame.count - packet.network - 40))
            }
            payload += frame[start...]
            number += 1
            guest.run(rounds: 3)
            out = wire.receive()
        }
        // Not the arrays themselves: what differs would be looked for at length.
        let isWhole = payload == Array(packet.frame[start...])
        #expect(isWhole)
        #expect(number == max(1, (size.payload + size.segment - 1) / size.segment))
    }

    @Test func class10_packetsThatMakeNoSense_areDroppedAndCounted() throws {
        let (guest, wire) = try guest()
        let good = Self.tcp(payload: 3000, isIPv4: true)
        let six = Self.tcp(payload: 3000, isIPv4: false)
        func changed(_ packet: Packet, _ place: Int, _ value: UInt8) -> [UInt8] {
            var frame = packet.frame
            frame[place] = value
            return frame
        }
        let four = Self.header(1, segment: 1448, start: good.transport, offset: 16)
        let bad: [([UInt8], [UInt8])] = [
            // Checksums outside the frame.
            (good.frame, Self.header(0, segment: 0, start: good.frame.count, offset: 0)),
            (good.frame, Self.header(0, segment: 0, start: good.frame.count - 1, offset: 0)),
            (good.frame, Self.header(0, segment: 0, start: 0xffff, offset: 0xffff)),
            (good.frame, Self.header(0, segment: 0, start: 14, offset: good.frame.count - 15)),
            // No size, too many segments, no checksum, one elsewhere.
            (good.frame, Self.header(1, segment: 0, start: good.transport, offset: 16)),
            (good.frame, Self.header(1, segment: 1, start: good.transport, offset: 16)),
            (good.frame, Self.header(1, segment: 1448, start: good.transport, offset: 16, flags: 0)),
            (good.frame, Self.header(1, segment: 1448, start: good.transport, offset: 6)),
            (good.frame, Self.header(1, segment: 1448, start: good.transport + 1, offset: 16)),
            (good.frame, Self.header(1, segment: 1448, start: 0xffff, offset: 16)),
            (good.frame, Self.header(1, segment: 1448, start: 0, offset: 16)),
            // IPv4 that is IPv6, and the other way round; UDP; headers that are too short or too long.
            (six.frame, Self.header(1, segment: 1448, start: six.transport, offset: 16)),
            (good.frame, Self.header(4, segment: 1448, start: good.transport, offset: 16)),
            (changed(good, good.network + 9, 17), four), (changed(good, good.network, 0x44), four), (changed(good, good.network, 0x4f), four),
            (changed(good, good.transport + 12, 0x40), four), (Array(good.frame.prefix(good.transport + 24)), four),
            (Array(good.frame.prefix(good.transport + 10)), four), (Array(good.frame.prefix(14)), four), (Array(good.frame.prefix(17)), four),
        ]
        for (index, (frame, header)) in bad.enumerated() {
            #expect(try guest.transmit(frame, header: header, on: wire) == nil, "\(index)")
            #expect(guest.transport.statistics.droppedRequests == UInt64(index + 1), "\(index)")
        }
        #expect(try guest.transmit(Frame.make(70), on: wire)?.count == 82)
    }

    @Test func theOrderOfPackets_stays() throws {
        let (guest, wire) = try guest()
        let packet = Self.tcp(payload: 2000, isIPv4: true)
        let header = Self.header(1, segment: 1448, start: packet.transport, offset: 16)
        for index in 0..<10 {
            let place = NetGuest.data + UInt64(index) * 4096
            let isLarge = index % 3 == 1
            try guest.memory.write(at: place, bytes: isLarge ? header + packet.frame : [UInt8](repeating: 0, count: 12) + Frame.make(60, seed: UInt8(index)))
            try guest.add(1, [.readable(place, UInt32(isLarge ? 12 + packet.frame.count : 72))], head: UInt16(index))
        }
        guest.kick(1)
        #expect(try guest.newUsed(1).map(\.id) == Array(0..<10))
        for index in 0..<10 {
            if index % 3 == 1 {
                #expect(wire.receive()?.count == 12 + packet.transport + 32 + 1448)
                #expect(wire.receive()?.count == 12 + packet.transport + 32 + 552)
            } else {
                #expect(wire.receive().map { Array($0[12...]) } == Frame.make(60, seed: UInt8(index)))
            }
        }
        #expect(wire.receive() == nil)
    }
}
