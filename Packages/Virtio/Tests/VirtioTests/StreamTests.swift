import AddressSpace
import Foundation
import Glibc
import HypervisorTesting
import LinuxSys
import Testing
@testable import Virtio

/// A network device over a stream socket: what a peer such as passt sees, and how it is found, lost and found again.
@Suite struct StreamTests {
    private static let offloads: UInt64 = 1 << 0 | 1 << 1 | 1 << 7 | 1 << 8 | 1 << 11 | 1 << 12

    private func folder() throws -> String {
        let path = "/tmp/stream-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    private func failure(_ options: StreamOptions) -> NetError? {
        do throws(NetError) {
            let loop: EventLoop
            do { loop = try EventLoop() } catch { return nil }
            _ = try NetBackend.openStream(options, loop: loop) { _ in }
        } catch { return error }
        return nil
    }

    // MARK: Frames

    @Test func offloads_areNotOffered() throws {
        let all = try NetGuest().offeredFeatures
        let guest = try NetGuest([Wire(.stream)])
        #expect(guest.offeredFeatures == all & ~Self.offloads)
        #expect(guest.config(6, 2) == 1)
    }

    @Test func framesGoOut_afterTheirLengthAndWithoutAHeader() throws {
        let (far, near) = try Wire.ends(SOCK_STREAM)
        let peer = RawStream(far)
        let guest = try StreamGuest(near).guest
        #expect(try guest.start())
        for (index, count) in [14, 60, 1514, 9000].enumerated() {
            let frame = Frame.make(count)
            let place = NetGuest.data + UInt64(index) * 0x4000
            try guest.memory.write(at: place, bytes: [UInt8](repeating: 0, count: 12) + frame)
            try guest.add(1, [.readable(place, 12), .readable(place + 12, UInt32(count))], head: UInt16(index * 2))
        }
        guest.kick(1)
        #expect(try guest.newUsed(1).map(\.id) == [0, 2, 4, 6])
        #expect(peer.take() == [14, 60, 1514, 9000].flatMap { Wire.framed(Frame.make($0)) })
    }

    @Test func framesOfEverySize_comeOutAsTheyWere() throws {
        let wire = try Wire(.stream)
        let guest = try NetGuest([wire])
        try guest.start()
        for count in [14, 60, 1514, 4096, 65553] {
            let frame = Frame.make(count)
            #expect(try guest.transmit(frame, on: wire) == [UInt8](repeating: 0, count: 12) + frame)
        }
    }

    @Test(arguments: [1, 3, 7, 64, 1000, 70000]) func framesIn_anyPieces_areDelivered(piece: Int) throws {
        let (far, near) = try Wire.ends(SOCK_STREAM)
        let peer = RawStream(far)
        let guest = try StreamGuest(near).guest
        try guest.start()
        try guest.post(200, size: 500)
        let sizes = piece < 7 ? [14, 60, 488, 489, 700] : [14, 60, 488, 489, 1500, 9000, 65553]
        let bytes = sizes.flatMap { Wire.framed(Frame.make($0, seed: UInt8(truncatingIfNeeded: $0))) }
        var received: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: piece) {
            var left = Array(bytes[start..<min(start + piece, bytes.count)])
            while !left.isEmpty {
                left.removeFirst(max(0, peer.put(left)))
                guest.loop.runOnce(timeoutMilliseconds: 0)
            }
            if received.isEmpty || piece > 7 { guest.run(rounds: 3) }
        }
        guest.run()
        let used = try guest.newUsed(0)
        received = try guest.packet(used, size: 500)
        let expected = sizes.flatMap { count in
            let buffers = (count + 12 + 499) / 500
            return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, UInt8(buffers & 0xff), UInt8(buffers >> 8)] + Frame.make(count, seed: UInt8(truncatingIfNeeded: count))
        }
        #expect(received == expected)
    }

    @Test func aFrameWithoutMerging_fillsOneBuffer() throws {
        let wire = try Wire(.stream)
        let guest = try NetGuest([wire])
        try guest.start(without: NetFeature.mergeableBuffers)
        try guest.add(0, [.writable(NetGuest.header, 12), .writable(NetGuest.data, 70000)])
        guest.kick(0)
        let frame = Frame.make(65553)
        wire.send(frame)
        guest.run()
        #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 65565)])
        #expect(try guest.bytes(NetGuest.data, frame.count) == frame)
    }

    @Test func framesForAFullSocket_waitAndGoOutWholeAndInOrder() throws {
        let (far, near) = try Wire.ends(SOCK_STREAM, sendBuffer: 4096)
        let peer = RawStream(far)
        let guest = try StreamGuest(near).guest
        try guest.start()
        let count = 100
        for index in 0..<count {
            let place = NetGuest.data + UInt64(index) * 4096
            try guest.memory.write(at: place, bytes: [UInt8](repeating: 0, count: 12) + Frame.make(1000 + index, seed: UInt8(index)))
            try guest.add(1, [.readable(place, UInt32(1012 + index))], head: UInt16(index))
        }
        guest.kick(1)
        var used = try guest.newUsed(1)
        #expect(!used.isEmpty && used.count < count)
        // Nobody can take more: the loop rests.
        let start = Clock.monotonicNanoseconds()
        guest.loop.runOnce(timeoutMilliseconds: 50)
        #expect(Clock.monotonicNanoseconds() - start > 30_000_000)
        var received: [UInt8] = []
        while let piece = peer.take(777) {
            received += piece
            guest.run(rounds: 3)
        }
        used += try guest.newUsed(1)
        #expect(used.map(\.id) == (0..<UInt32(count)).map { $0 })
        #expect(received == (0..<count).flatMap { Wire.framed(Frame.make(1000 + $0, seed: UInt8($0))) })
    }

    @Test func aFrameThatIsCutByAReset_isFinishedFromACopy() throws {
        let (far, near) = try Wire.ends(SOCK_STREAM, sendBuffer: 4096)
        let peer = RawStream(far)
        let guest = try StreamGuest(near).guest
        for round in 0..<20 {
            try guest.start()
            for index in 0..<100 {
                let place = NetGuest.data + UInt64(index) * 8192
                try guest.memory.write(at: place, bytes: [UInt8](repeating: 0, count: 12) + Frame.make(5000 + index, seed: UInt8(round)))
                try guest.add(1, [.readable(place, UInt32(5012 + index))], head: UInt16(index))
            }
            guest.kick(1)
            _ = peer.take(1111)
            guest.write(.status, 0)
            // The driver's memory is its own again.
            try guest.memory.fill(at: NetGuest.data, count: 100 * 8192, byte: 0xdd)
        }
        // What arrives is frames, whatever was cut: found by reading on after the first bytes that were thrown away above.
        try guest.start()
        var bytes: [UInt8] = []
        while let piece = peer.take() {
            bytes += piece
            guest.run(rounds: 3)
        }
        #expect(!bytes.contains(0xdd) || bytes.count < 1000 || bytes.filter { $0 == 0xdd }.count < bytes.count / 50)
        // The far end takes what is left of the last one, then a new one comes out whole.
        #expect(try guest.start())
        let frame = Frame.make(60, seed: 9)
        try guest.memory.write(at: NetGuest.data, bytes: [UInt8](repeating: 0, count: 12) + frame)
        try guest.add(1, [.readable(NetGuest.data, 72)])
        guest.kick(1)
        #expect(peer.take().map { Array($0.suffix(64)) } == Wire.framed(frame))
    }

    /// passt of 2023 reads what is there, and of a frame that is not whole the rest with one more read; if that is not all, it is lost.
    @Test(arguments: [[1514], [9014], [33000], [65534], [65534, 60, 1514, 40000]]) func aReader_findsTheRestOfAFrameInOnePiece(sizes: [Int]) throws {
        let (far, near) = try Wire.ends(SOCK_STREAM)
        let peer = RawStream(far)
        let guest = try StreamGuest(near).guest
        try guest.start()
        var sent = 0
        func offer() throws {
            while sent < 400, guest.rings[1].available &- guest.rings[1].seen < 120 {
                let size = sizes[sent % sizes.count]
                try guest.add(1, [.readable(NetGuest.data, 12), .readable(NetGuest.data + 4096, UInt32(size))], head: UInt16(sent % 120 * 2))
                sent += 1
            }
            guest.notify(1)
            guest.loop.runOnce(timeoutMilliseconds: 0)
            _ = try guest.newUsed(1)
        }
        var found = 0
        for _ in 0..<10000 where found < 400 {
            try offer()
            guard var bytes = peer.take(1 << 22)?[...] else { continue }
            while bytes.count > 4 {
                let length = bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) }
                try #require(length == sizes[found % sizes.count])
                bytes = bytes.dropFirst(4)
                if bytes.count < length {
                    guest.run(rounds: 3)
                    let missing = length - bytes.count
                    try #require(peer.take(missing)?.count == missing)
                    bytes = []
                } else {
                    bytes = bytes.dropFirst(length)
                }
                found += 1
            }
            try #require(bytes.isEmpty)
        }
        #expect(found == 400)
    }

    @Test func aLinkThatWasDown_losesWhatCameMeanwhileAndNoFrameIsCut() throws {
        let (far, near) = try Wire.ends(SOCK_STREAM)
        let peer = RawStream(far)
        let stream = try StreamGuest(near)
        let guest = stream.guest
        try guest.start()
        try guest.post(8)
        guest.device { $0.setLink(up: false) }
        #expect(!stream.isLinkUp)
        peer.put(Wire.framed(Frame.make(200, seed: 1)) + Wire.framed(Frame.make(200, seed: 2)) + Wire.framed(Frame.make(300, seed: 3)).prefix(100))
        guest.run()
        #expect(try guest.newUsed(0).isEmpty)
        guest.device { $0.setLink(up: true) }
        #expect(stream.isLinkUp)
        peer.put(Array(Wire.framed(Frame.make(300, seed: 3)).dropFirst(100)))
        guest.run()
        let used = try guest.newUsed(0)
        #expect(Array(try guest.packet(used).dropFirst(12)) == Frame.make(300, seed: 3))
    }

    @Test func theBuffer_isThereWhileItIsNeeded() throws {
        let (far, near) = try Wire.ends(SOCK_STREAM)
        let peer = RawStream(far)
        let stream = try StreamGuest(near)
        let guest = stream.guest
        func holdsMemory() -> Bool { guest.device { if case .stream(let stream)? = $0.backend?.port(0) { stream.reader.holdsMemory } else { false } } }
        try guest.start()
        try guest.post(64)
        for _ in 0..<2 {
            peer.put(Wire.framed(Frame.make()))
            guest.run()
            #expect(try guest.newUsed(0).count == 1)
            #expect(holdsMemory())
            #expect(stream.run { !holdsMemory() })
        }
    }

    // MARK: The peer

    @Test func client_withoutAPeer_isAnErrorThatNamesThePath() throws {
        let path = try folder() + "/none"
        let error = failure(StreamOptions(netdev: "n", address: .unix(path: path)))
        #expect(error == .cannotConnect(netdev: "n", address: .unix(path: path), .noEntry))
        #expect(error?.description == "-netdev n: cannot connect to '\(path)': No such file or directory")
        let refused = failure(StreamOptions(netdev: "n", address: .inet(host: "127.0.0.1", port: 1)))
        #expect(refused?.description == "-netdev n: cannot connect to 127.0.0.1:1: Connection refused")
        #expect(failure(StreamOptions(netdev: "n", address: .inet(host: "host.name", port: 1))) == .cannotConnect(netdev: "n", address: .inet(host: "host.name", port: 1), .invalid))
    }

    @Test func client_findsItsPeerWheneverItComes() throws {
        let path = try folder() + "/socket"
        let stream = try StreamGuest(StreamOptions(netdev: "n", address: .unix(path: path), reconnect: 10))
        let guest = stream.guest
        try guest.start()
        #expect(!stream.isLinkUp)
        // Nobody is there: lost.
        try guest.add(1, [.readable(NetGuest.data, 100)])
        guest.kick(1)
        #expect(try guest.newUsed(1).count == 1)
        try guest.post(200, size: 2048)
        for round in 1...3 {
            let pulses = guest.line.pulses
            let listener = try StreamSocket.listen(path: path)
            #expect(stream.run { stream.isLinkUp })
            #expect(guest.line.pulses > pulses)
            var peer: RawStream? = RawStream(try StreamSocket.accept(listener).take())
            try SysFile.remove(path)
            peer?.put(Wire.framed(Frame.make(seed: UInt8(round))))
            guest.run()
            let used = try guest.newUsed(0)
            #expect(Array(try guest.packet(used).dropFirst(12)) == Frame.make(seed: UInt8(round)))
            guest.write(.interruptAcknowledge, 3)
            peer = nil
            #expect(stream.run { !stream.isLinkUp })
            #expect(guest.read(.interruptStatus) & VirtioInterrupt.configurationChange != 0)
            #expect(stream.told.count == 2 * round)
        }
        #expect(stream.told == [true, false, true, false, true, false])
    }

    @Test func client_withoutReconnect_staysDown() throws {
        let path = try folder() + "/socket"
        let listener = try StreamSocket.listen(path: path)
        let stream = try StreamGuest(StreamOptions(netdev: "n", address: .unix(path: path)))
        #expect(stream.isLinkUp)
        do { _ = try StreamSocket.accept(listener) }
        #expect(stream.run { !stream.isLinkUp })
        let end = Clock.monotonicNanoseconds() + 300_000_000
        while Clock.monotonicNanoseconds() < end { stream.loop.runOnce(timeoutMilliseconds: 10) }
        #expect(stream.told == [false])
        #expect(throws: Errno.again) { _ = try StreamSocket.accept(listener) }
    }

    @Test func tcpClient_connectsAndConnectsAgain() throws {
        let listener = try StreamSocket.listen(host: "127.0.0.1", port: 0)
        let port = try StreamSocket.port(of: listener)
        let stream = try StreamGuest(StreamOptions(netdev: "n", address: .inet(host: "127.0.0.1", port: port), reconnect: 10))
        let guest = stream.guest
        #expect(stream.isLinkUp)
        try guest.start()
        try guest.post(8)
        for round in 0..<2 {
            #expect(stream.run { stream.isLinkUp })
            var peer: RawStream? = RawStream(try StreamSocket.accept(listener).take())
            peer?.put(Wire.framed(Frame.make(seed: UInt8(round))))
            #expect(try stream.receives(1))
            peer = nil
            #expect(stream.run { stream.told.count == 2 * round + 1 })
        }
        #expect(stream.told.prefix(3) == [false, true, false])
    }

    @Test func server_takesOnePeerAtATime() throws {
        let path = try folder() + "/socket"
        do {
            let stream = try StreamGuest(StreamOptions(netdev: "n", address: .unix(path: path), isServer: true))
            let guest = stream.guest
            try guest.start()
            try guest.post(8)
            #expect(!stream.isLinkUp)
            #expect(try SysFile.linkStatus(path).kind == .socket)
            var first: RawStream? = RawStream(try StreamSocket.connect(path: path).take())
            #expect(stream.run { stream.isLinkUp })
            let second = RawStream(try StreamSocket.connect(path: path).take())
            second.put(Wire.framed(Frame.make(seed: 2)))
            guest.run()
            #expect(try guest.newUsed(0).isEmpty)
            first = nil
            #expect(try stream.receives(1))
            #expect(stream.told == [true, false, true])
            #expect(first == nil && !second.isCutOff)
        }
        #expect(throws: Errno.noEntry) { try SysFile.linkStatus(path) }
    }

    @Test func server_replacesASocketThatNobodyListensOn_andNothingElse() throws {
        let folder = try folder()
        let path = folder + "/socket"
        do { _ = try StreamSocket.listen(path: path) }
        do { _ = try StreamGuest(StreamOptions(netdev: "n", address: .unix(path: path), isServer: true)) }
        #expect(FileManager.default.createFile(atPath: path, contents: nil))
        #expect(failure(StreamOptions(netdev: "n", address: .unix(path: path), isServer: true)) == .cannotListen(netdev: "n", address: .unix(path: path), .addressInUse))
        #expect(try SysFile.linkStatus(path).kind != .socket)
    }

    @Test func descriptors_areCheckedAndClosed() throws {
        let (far, near) = try Wire.ends(SOCK_DGRAM)
        defer { close(far) }
        #expect(failure(StreamOptions(netdev: "n", address: .descriptor(near))) == .notAStream(netdev: "n", descriptor: near, .wrongSocketType))
        let path = try folder() + "/socket"
        let listener = try StreamSocket.listen(path: path).take()
        #expect(failure(StreamOptions(netdev: "n", address: .descriptor(listener))) == .wrongStream(netdev: "n", descriptor: listener, listens: true))
        #expect(throws: Errno.connectionRefused) { _ = try StreamSocket.connect(path: path) }
        let (peer, connected) = try Wire.ends(SOCK_STREAM)
        let raw = RawStream(peer)
        #expect(failure(StreamOptions(netdev: "n", address: .descriptor(connected), isServer: true)) == .wrongStream(netdev: "n", descriptor: connected, listens: false))
        #expect(raw.isCutOff)
        let file = open("/dev/null", O_RDWR | O_CLOEXEC)
        #expect(failure(StreamOptions(netdev: "n", address: .descriptor(file)))?.description.contains("Socket operation on non-socket") == true)
    }

    @Test func descriptorThatListens_isAServer() throws {
        let path = try folder() + "/socket"
        let listener = try StreamSocket.listen(path: path).take()
        let stream = try StreamGuest(StreamOptions(netdev: "n", address: .descriptor(listener), isServer: true))
        #expect(!stream.isLinkUp)
        let peer = RawStream(try StreamSocket.connect(path: path).take())
        #expect(stream.run { stream.isLinkUp })
        #expect(!peer.isCutOff)
    }
}
