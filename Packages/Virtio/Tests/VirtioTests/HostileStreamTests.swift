import AddressSpace
import Glibc
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// A peer that means harm, or is broken. Numbers are bug classes, as in `HostileNetTests`.
@Suite struct HostileStreamTests {
    private func started() throws -> (StreamGuest, RawStream) {
        let (far, near) = try Wire.ends(SOCK_STREAM)
        let peer = RawStream(far)
        let stream = try StreamGuest(near)
        try stream.guest.start()
        try stream.guest.post(64)
        return (stream, peer)
    }

    private func dropped(_ guest: NetGuest) -> UInt64 { guest.device { $0.pairs[0].receiver.droppedPackets.load(ordering: .relaxed) } }

    /// The loop has nothing to do. One timer may be due meanwhile, of the link's rest after a connection has ended: not two.
    private func expectRest(_ loop: EventLoop, sourceLocation: SourceLocation = #_sourceLocation) {
        for _ in 0..<20 { loop.runOnce(timeoutMilliseconds: 0) }
        let isAtRest = (0..<2).contains { _ in
            let start = Clock.monotonicNanoseconds()
            loop.runOnce(timeoutMilliseconds: 50)
            return Clock.monotonicNanoseconds() - start > 30_000_000
        }
        #expect(isAtRest, sourceLocation: sourceLocation)
    }

    // MARK: 10. Lengths

    @Test(arguments: [65554, 65536 + 4096, 1 << 20, 0x7fff_ffff, 0x8000_0000, .max] as [UInt32]) func class10_lengthsThatNoFrameHas_endTheConnection(length: UInt32) throws {
        let (stream, peer) = try started()
        peer.put(Wire.framed(Frame.make(100)))
        peer.put(length: length, [UInt8](repeating: 0xff, count: 1000))
        peer.put(Wire.framed(Frame.make(100)))
        #expect(stream.run { !stream.isLinkUp })
        #expect(try stream.guest.newUsed(0).map(\.length) == [112])
        #expect(peer.isCutOff)
        #expect(stream.told == [false])
        expectRest(stream.loop)
    }

    @Test func class10_lengthsThatAreTooShort_areDroppedAndCounted() throws {
        let (stream, peer) = try started()
        peer.put(length: 0)
        peer.put(length: 1, [1])
        peer.put(length: 13, [UInt8](repeating: 0xee, count: 13))
        peer.put(Wire.framed(Frame.make(14)))
        stream.guest.run()
        #expect(try stream.guest.newUsed(0).map(\.length) == [26])
        #expect(dropped(stream.guest) == 3)
        #expect(stream.isLinkUp)
        #expect(!peer.isCutOff)
    }

    @Test func class28_millionsOfEmptyFrames_areABoundedPiecePerWake() throws {
        let (stream, peer) = try started()
        while peer.put([UInt8](repeating: 0, count: 1 << 16)) > 0 {}
        var last: UInt64 = 0
        for _ in 0..<20 {
            stream.loop.runOnce(timeoutMilliseconds: 0)
            let now = dropped(stream.guest)
            // One wake by the socket, and one by what is left.
            #expect(now - last <= UInt64(2 * NetReceiver.packetsPerWake))
            last = now
        }
        #expect(last > 0)
        #expect(!peer.isCutOff)
    }

    // MARK: 24. Peers that stop

    @Test func class24_headersAndFramesInPart_waitAndCostNothing() throws {
        let (stream, peer) = try started()
        for bytes in [[0], [0, 0], [60], Array(Frame.make(60).prefix(30))] {
            peer.put(bytes)
            stream.guest.run()
            #expect(try stream.guest.newUsed(0).isEmpty)
        }
        expectRest(stream.loop)
        #expect(stream.isLinkUp)
        #expect(!peer.isCutOff)
    }

    @Test(arguments: [1, 3, 4, 5, 50]) func class24_peerThatClosesWithinAFrame_isGone(bytes: Int) throws {
        let (far, near) = try Wire.ends(SOCK_STREAM)
        let stream = try StreamGuest(near)
        try stream.guest.start()
        try stream.guest.post(8)
        do {
            let peer = RawStream(far)
            peer.put(Array(Wire.framed(Frame.make(100)).prefix(bytes)))
            stream.guest.run()
        }
        #expect(stream.run { !stream.isLinkUp })
        #expect(try stream.guest.newUsed(0).isEmpty)
        expectRest(stream.loop)
        // The driver goes on.
        try stream.guest.add(1, [.readable(NetGuest.data, 100)])
        stream.guest.kick(1)
        #expect(try stream.guest.newUsed(1).count == 1)
    }

    @Test func class24_peerThatNeverReads_stopsTheSenderAndNobodyElse() throws {
        let (stream, peer) = try started()
        let guest = stream.guest
        for index in 0..<250 { try guest.add(1, [.readable(NetGuest.data, 12), .readable(NetGuest.data, 20000)], head: UInt16(index % 125 * 2)) }
        guest.kick(1)
        let used = try guest.newUsed(1).count
        #expect(used < 125)
        expectRest(stream.loop)
        // The other direction goes on.
        peer.put(Wire.framed(Frame.make(100)))
        guest.run()
        #expect(try guest.newUsed(0).count == 1)
        // So does the driver, by a reset.
        #expect(try guest.start())
        expectRest(stream.loop)
        #expect(!peer.isCutOff)
    }

    @Test func class24_peerThatClosesWhileTheSenderWaits_isGone() throws {
        let (far, near) = try Wire.ends(SOCK_STREAM, sendBuffer: 4096)
        let stream = try StreamGuest(near)
        let guest = stream.guest
        try guest.start()
        var used = 0
        do {
            let peer = RawStream(far)
            for index in 0..<100 { try guest.add(1, [.readable(NetGuest.data, 5012)], head: UInt16(index)) }
            guest.kick(1)
            used = try guest.newUsed(1).count
            #expect(used < 100)
            #expect(!peer.isCutOff)
        }
        #expect(stream.run { !stream.isLinkUp })
        guest.run()
        used += try guest.newUsed(1).count
        #expect(used == 100)
        expectRest(stream.loop)
    }

    // MARK: 5. No buffers (CVE-2020-16843)

    @Test func class5_withoutBuffers_theSocketIsNotRead() throws {
        let (far, near) = try Wire.ends(SOCK_STREAM)
        let peer = RawStream(far)
        let stream = try StreamGuest(near)
        let guest = stream.guest
        try guest.start()
        var sent = 0
        while true {
            let count = peer.put([UInt8](Wire.framed(Frame.make(1000, seed: UInt8(truncatingIfNeeded: sent)))))
            guard count == 1004 else { break }
            sent += 1
            guest.loop.runOnce(timeoutMilliseconds: 0)
            #expect(sent < 5000)
            if sent >= 5000 { break }
        }
        expectRest(stream.loop)
        // Whatever the driver gives is filled, one at a time.
        for index in 0..<min(sent, 200) {
            try guest.add(0, [.writable(guest.receiveBuffer(index % 8, 2048), 2048)], head: UInt16(index % 8))
            guest.kick(0)
            let used = try guest.newUsed(0)
            #expect(used.count == 1)
            #expect(try guest.packet(used).dropFirst(12) == Frame.make(1000, seed: UInt8(truncatingIfNeeded: index))[...])
        }
    }

    @Test func class5_peerThatClosesWhileThereAreNoBuffers_isGone() throws {
        let (far, near) = try Wire.ends(SOCK_STREAM)
        let stream = try StreamGuest(near)
        try stream.guest.start()
        do {
            let peer = RawStream(far)
            peer.put(Wire.framed(Frame.make()))
            stream.guest.run()
        }
        #expect(stream.run { !stream.isLinkUp })
        expectRest(stream.loop)
    }

    @Test func class28_peersThatComeAndGo_doNotKeepTheLoopBusy() throws {
        let path = "/tmp/stream-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let stream = try StreamGuest(StreamOptions(netdev: "n", address: .unix(path: path), isServer: true))
        let end = Clock.monotonicNanoseconds() + 500_000_000
        while Clock.monotonicNanoseconds() < end {
            _ = try? StreamSocket.connect(path: path)
            stream.loop.runOnce(timeoutMilliseconds: 0)
        }
        // A peer each 100 ms, and the last one may still be there.
        #expect((2...14).contains(stream.told.count))
    }
}
